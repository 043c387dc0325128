"""Cut clips out of their films at exact frames, and look at what was written before it counts.

A stream copy would begin at a key frame, up to seconds off; so the frames of the shots are encoded anew, one after
another, and the file is decoded again: as many frames, and at the ends of each shot the pictures that were meant.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from attnscope._types import Frames
from attnscope.dataset.rows import Clip
from attnscope.dataset.settings import Settings
from attnscope.errors import RunError
from attnscope.storage.confined import confine
from attnscope.storage.disk import explain, partial_beside
from attnscope.video.decoding import VideoFile
from attnscope.video.scaling import squeeze, to_rgb
from attnscope.video.writing import VideoWriter

if TYPE_CHECKING:
    import av

CLIPS = "clips"
"""The folder of the clips of a dataset."""

_SMALL = (18, 32)  # height and width at which pictures are compared
_FAR = 12.0  # grey levels, mean over such a picture; compression changes it by one or two


def export(clip: Clip, settings: Settings, folder: Path, out: Path) -> list[Clip]:
    """Write a clip that is kept as a file of its own, and check it.

    Parameters
    ----------
    clip : Clip
        With exact shots; one that was dropped is given back as it is.
    settings : Settings
        ``crf`` and ``preset`` of the encoder.
    folder : Path
        Where the films lie.
    out : Path
        The dataset.

    Returns
    -------
    list of Clip
        One, with the place of its file and the hash of its content.

    Raises
    ------
    RunError
        What was written is not what was meant.
    VideoError
        The film cannot be read any more.
    """
    if clip.decision == "dropped":
        return [clip]
    uri = place_clip(clip.clip_id)
    path = out / uri
    partial = partial_beside(path)
    with explain(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        meant = _encode(clip, settings, folder, partial)
        _require_same(clip, partial, meant)
        with explain(path), partial.open("rb+") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return [
        msgspec.structs.replace(
            clip, uri=uri, sha256=sha256, height=_even(clip.height), width=_even(clip.width)
        )
    ]


def place_clip(clip_id: str) -> str:
    """Say where the file of a clip lies in its dataset.

    >>> place_clip("a1b2")
    'clips/a1/a1b2.mp4'
    """
    return f"{CLIPS}/{clip_id[:2]}/{clip_id}.mp4"


def _encode(clip: Clip, settings: Settings, folder: Path, path: Path) -> dict[int, Frames]:
    """Write the frames of all shots; returns small pictures of the first and last frame of each."""
    height, width = _even(clip.height), _even(clip.width)
    options = {"crf": str(settings.crf), "preset": settings.preset}
    ends = {frame for shot in clip.shots for frame in (shot.start_frame, shot.stop_frame - 1)}
    meant = {}
    # one thread: with several the same pictures give other bytes on another machine
    with VideoWriter(
        path, Fraction(clip.fps), height=height, width=width, options=options, num_threads=1
    ) as file:
        for frame, picture in enumerate(_pictures(clip, folder)):
            if frame in ends:
                meant[frame] = squeeze(picture, *_SMALL)
            if (picture.height, picture.width) == (height, width):
                file.copy(picture)
            else:
                file.write(to_rgb(picture)[:height, :width])
    return meant


def _pictures(clip: Clip, folder: Path) -> Iterator[av.VideoFrame]:
    """Decode the film once from the first shot to the last, and give the frames of the shots."""
    video = VideoFile(confine(folder, clip.file))
    start, stop = clip.shots[0].source_start_frame, clip.shots[-1].source_stop_frame
    pictures = video.stretch(start, stop, fps=Fraction(clip.fps), first_stamp=clip.first_stamp)
    spans = [(shot.source_start_frame, shot.source_stop_frame) for shot in clip.shots]
    for frame, picture in enumerate(pictures, start=start):
        if any(first <= frame < after for first, after in spans):
            yield picture


def _require_same(clip: Clip, path: Path, meant: dict[int, Frames]) -> None:
    num_frames = 0
    for frame, picture in enumerate(VideoFile(path, fewest=1)):
        num_frames += 1
        if frame not in meant:
            continue
        distance = float(np.abs(squeeze(picture, *_SMALL).astype(np.int16) - meant[frame]).mean())
        if distance > _FAR:
            raise _refusal(clip, f"the pictures of {clip.file}", f"another one at frame {frame}")
    if num_frames != clip.num_frames:
        raise _refusal(clip, f"{clip.num_frames} frames", f"{num_frames}")


def _refusal(clip: Clip, expected: str, got: str) -> RunError:
    return RunError(
        expected=expected,
        got=got,
        where=f"in what was written as clip {clip.clip_id}",
        remedy="report it with the file",
    )


def _even(side: int) -> int:
    """The colours of four pixels are one: an odd row or column is left out."""
    return max(2, side // 2 * 2)
