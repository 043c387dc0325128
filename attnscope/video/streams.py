"""Run a video past the measures frame by frame, a file or an array, as often as asked, in memory that is bounded.

Legend: T frames, H height, W width; frames are (T, H, W, 3) RGB uint8, one picture is an `av.VideoFrame`.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from attnscope._types import Crop, Frames
from attnscope.errors import VideoError
from attnscope.video.arrays import as_frames
from attnscope.video.clock import positive_rate
from attnscope.video.decoding import VideoFile
from attnscope.video.display import NO_CROP
from attnscope.video.scaling import Scaler, fill

if TYPE_CHECKING:
    import av

_KEPT_FRAMES, _KEPT_BYTES = 320, 512 * 2**20  # of a clip this short the pictures are kept and decoded once


class Video(ABC):
    """A video that can be run from the start again: iterate to get its pictures in order.

    ``size`` (height, width) is that of its pictures. ``num_frames`` and ``fps``, the frame rate, are known once it ran
    through.
    """

    fps: Fraction
    size: tuple[int, int]
    num_frames: int

    @abstractmethod
    def __iter__(self) -> Iterator[av.VideoFrame]:
        """Read the video once more from its beginning, picture by picture."""

    def batches(self, indices: Sequence[int], *, height: int, width: int, size: int = 8) -> Iterator[Frames]:
        """Give frames by rising index, scaled to fill height x width and cut to it in the middle, a few at a time."""
        waiting = list(indices)
        ready: list[Frames] = []
        scaler = Scaler()
        for index, picture in enumerate(self):
            if not waiting:
                break
            if index == waiting[0]:
                ready.append(fill(scaler, picture, height, width))
                waiting.pop(0)
            if len(ready) == size:
                yield np.stack(ready)
                ready = []
        if ready:
            yield np.stack(ready)
        if waiting:
            raise VideoError(
                expected=f"rising frames below {self.num_frames}",
                got=f"{waiting[0]}",
                where="in batches",
                remedy="ask for earlier ones",
            )


class ArrayVideo(Video):
    """Frames that are already in memory, in any form that :func:`attnscope.video.arrays.as_frames` takes.

    >>> video = ArrayVideo(np.zeros((3, 32, 64, 3), np.uint8), fps=16)
    >>> video.num_frames, video.size, len(list(video))
    (3, (32, 64), 3)
    """

    def __init__(self, frames: object, fps: Fraction | int | float) -> None:
        self._frames = as_frames(frames)
        self.fps = positive_rate(fps)
        self.size = (int(self._frames.shape[1]), int(self._frames.shape[2]))
        self.num_frames = len(self._frames)

    @override
    def __iter__(self) -> Iterator[av.VideoFrame]:
        import av

        for frame in self._frames:
            yield av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")


class FileVideo(Video):
    """A video file as a player shows it; ``crop`` takes shares off the picture: top, right, bottom, left.

    The pictures of a short clip (up to 320 frames and 512 MiB as decoded) are kept once it ran to its end; a longer one
    is decoded anew each time.

    Raises
    ------
    VideoError
        As :class:`attnscope.video.decoding.VideoFile`.
    """

    def __init__(self, path: str | os.PathLike[str], *, crop: Crop = NO_CROP) -> None:
        self._file = VideoFile(path, crop=crop)
        self.size, self.fps, self.num_frames = self._file.size, self._file.fps, 0
        self._kept: list[av.VideoFrame] = []

    @override
    def __iter__(self) -> Iterator[av.VideoFrame]:
        if self._kept:
            yield from self._kept
            return
        kept: list[av.VideoFrame] = []
        num_bytes, is_short = 0, True
        for picture in self._file:
            if is_short:
                kept.append(picture)
                num_bytes += sum(plane.buffer_size for plane in picture.planes)
                is_short = len(kept) <= _KEPT_FRAMES and num_bytes <= _KEPT_BYTES
            else:
                kept.clear()
            yield picture
        self.fps, self.num_frames = self._file.fps, self._file.num_frames
        self._kept = kept if is_short else []
