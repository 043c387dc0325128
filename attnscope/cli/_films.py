"""The films that a probe leaves beside its store, for people to look at: an mp4 and a strip of pictures of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from attnscope._types import Floats32
from attnscope.cli._footage import Shown
from attnscope.exploring.films import film_beside
from attnscope.storage import STORE_NAME
from attnscope.video.files import read_frames, write_video

if TYPE_CHECKING:
    from attnscope.families.protocols import Pipeline


def films_in(folder: Path, num: int) -> list[Path]:
    """Where the films of a run lie, one for each prompt or video."""
    return [film_beside(folder / STORE_NAME, index) for index in range(num)]


def keep_made(films: Sequence[Path], fps: Fraction) -> Callable[[int, Floats32], None]:
    """Return what writes down a film that was made, whole or not at all."""

    def save(index: int, frames: Floats32) -> None:
        write_video(films[index], np.round(255 * np.clip(frames, 0, 1)).astype(np.uint8), fps)

    return save


def keep_shown(films: Sequence[Path], shown: Shown) -> None:
    """Write down the films that a model was shown, as it saw them; a wide gap in a strip is one of their cuts."""
    from attnscope.video.strips import film_strip

    for path, frames, plan in zip(films, shown.frames, shown.plans, strict=True):
        write_video(path, frames, plan.fps)
        film_strip(frames, cuts=plan.cuts_frame).save(path.with_suffix(".png"))


def find_cuts(films: Sequence[Path], pipe: Pipeline) -> list[list[int]]:
    """Look where each film is cut, in video frames, which need not be where the prompt asked for it.

    A strip of each film is left beside it, with a wide gap at those cuts.
    """
    from attnscope.families import find
    from attnscope.intervening.cut_check import check_cuts
    from attnscope.video.strips import film_strip

    found, stride = [], find(pipe).temporal_stride(pipe)
    for path in films:
        frames = read_frames(path)
        cuts = list(check_cuts((), frames, stride=stride).found_frame)
        film_strip(frames, cuts=cuts).save(path.with_suffix(".png"))
        found.append(cuts)
    return found
