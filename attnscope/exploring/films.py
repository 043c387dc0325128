"""The films of a store, small enough to lie in a page: one picture that holds all frames, and strips."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from attnscope._types import Document, Frames
from attnscope.errors import InputError
from attnscope.video.files import read_frames
from attnscope.video.strips import film_strip, png_of

_HEIGHT, _COLUMNS, _QUALITY = 72, 12, 82

Videos = str | PathLike[str] | Frames | Sequence[str | PathLike[str] | Frames] | None
"""Films of the prompts, in their order: files or frames; one, or one for each."""


@dataclass(frozen=True)
class Sprite:
    """All frames of a film side by side in rows, as a JPEG."""

    jpeg: bytes
    width: int
    height: int
    num: int

    @property
    def described(self) -> Document:
        """What the explorer is told of it."""
        return {
            "data": b64encode(self.jpeg).decode(),
            "width": self.width,
            "height": self.height,
            "columns": _COLUMNS,
            "num": self.num,
        }


def make_sprite(frames: Frames) -> Sprite:
    """Put all frames of a film into one small picture, 12 to a row, at most 72 pixels high each.

    >>> sprite = make_sprite(np.zeros((13, 144, 192, 3), np.uint8))
    >>> sprite.width, sprite.height, sprite.num
    (96, 72, 13)
    """
    from PIL import Image

    num, full_height, full_width = frames.shape[:3]
    height = min(_HEIGHT, full_height)
    width = max(1, round(full_width * height / full_height))
    sheet = Image.new("RGB", (_COLUMNS * width, -(-num // _COLUMNS) * height))
    for place, frame in enumerate(frames):
        small = Image.fromarray(frame).resize((width, height), Image.Resampling.BOX)
        sheet.paste(small, (place % _COLUMNS * width, place // _COLUMNS * height))
    target = io.BytesIO()
    sheet.save(target, "JPEG", quality=_QUALITY)
    return Sprite(target.getvalue(), width, height, num)


def strip_png(frames: Frames, cuts: Sequence[int] = (), num_pictures: int = 12) -> bytes:
    """Draw pictures of a film side by side, as a PNG: see `attnscope.video.strips`."""
    return png_of(film_strip(frames, cuts=cuts, num_pictures=num_pictures))


def film_beside(store: Path, index: int) -> Path:
    """Where `attnscope probe` keeps a film beside its store.

    >>> film_beside(Path("attention.zarr"), 2).name
    'video-002.mp4'
    """
    return store.parent / f"video-{index:03d}.mp4"


def find_films(store: Path, num_prompts: int) -> list[Path | None]:
    """Find the films that lie beside a store, one for each prompt; None where there is none."""
    beside = (film_beside(store, index) for index in range(num_prompts))
    return [path if path.is_file() else None for path in beside]


def read_films(video: Videos, num_prompts: int) -> list[Frames]:
    """Read the films that were given, as many as there are prompts at most.

    Raises
    ------
    InputError
        More films than prompts.
    VideoError
        A file that cannot be read.
    """
    if video is None:
        return []
    is_one = isinstance(video, str | PathLike) or (isinstance(video, np.ndarray) and video.ndim == 4)
    films = [video] if is_one else list(video)  # type: ignore[arg-type]  # a sequence of films by now
    if len(films) > num_prompts:
        raise InputError(
            expected=f"at most one film for each of {num_prompts} prompts",
            got=f"{len(films)}",
            where="as video",
            remedy="leave out those that are of no prompt",
        )
    return [read_frames(film) if isinstance(film, str | PathLike) else np.asarray(film) for film in films]
