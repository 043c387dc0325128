"""Films looked at while they are made, and the cuts that they then have: both kept when a film is done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from attnscope._types import Document, Floats32
from attnscope.families import find
from attnscope.families.protocols import Pipeline
from attnscope.metrics.detection.cuts import DetectorName, detect_cuts
from attnscope.probing.probe import probe
from attnscope.probing.share import Share
from attnscope.reproducing.keeping import read_kept, say_request
from attnscope.reproducing.prompts import PlannedFilm
from attnscope.storage import STORE_NAME
from attnscope.storage.sealed import write_sealed
from attnscope.video.arrays import as_frames

_KIND = "cuts of an observed film"


class KeptCuts(msgspec.Struct, frozen=True):
    """The cuts that a detector found in a film, in frames, and what was asked for."""

    prompt: str
    asked: str
    cuts_frame: tuple[int, ...]


def watch_films(
    pipe: Pipeline,
    films: Sequence[PlannedFilm],
    out: Path,
    *,
    detector: DetectorName,
    asked: Document,
    share: Share,
    **arguments: Any,
) -> None:
    """Look at what is missing of this process's films while they are made, and look for the cuts in each of them.

    A film whose cuts are not written down yet is made again, for only its attention was kept.
    """
    probed: dict[str, Any] = {
        "prompt": [film.prompt for film in films],
        "shots": [film.plan for film in films],
        "out": out / STORE_NAME,
        "progress": False,
        **arguments,
    }
    request = say_request({**asked, "detector": detector})
    stride = find(pipe).temporal_stride(pipe)
    for index in share.of(range(len(films))):
        film = films[index]
        if read_cuts(out, film, detector, asked) is not None:
            continue

        def note(_: int, frames: Floats32, film: PlannedFilm = film) -> None:
            found = detect_cuts(as_frames(frames), film.plan.fps, detector=detector, stride=stride)
            write_sealed(_path(out, film), _KIND, KeptCuts(film.prompt, request, found.cuts_frame))

        _path(out, film).parent.mkdir(parents=True, exist_ok=True)
        probe(pipe, share=(index, len(films)), on_video=note, **probed)
    probe(pipe, share=(share.index, share.count), **probed)


def read_cuts(
    out: Path, film: PlannedFilm, detector: DetectorName, asked: Document
) -> tuple[int, ...] | None:
    """Return the cuts that were found in a film, None where it was not made yet.

    Raises
    ------
    StoreError
        They are damaged, or belong to another request.
    """
    request = say_request({**asked, "detector": detector})

    def is_asked(kept: KeptCuts) -> bool:
        return (kept.prompt, kept.asked) == (film.prompt, request)

    kept = read_kept(_path(out, film), _KIND, KeptCuts, is_asked)
    return None if kept is None else kept.cuts_frame


def _path(out: Path, film: PlannedFilm) -> Path:
    return out / "observed" / f"{film.number:03d}.json"
