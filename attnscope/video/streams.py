"""Run a video past the measures frame by frame, a file or an array, as often as asked, in memory that is bounded.

Legend: T frames, H height, W width; frames are (T, H, W, 3) RGB uint8, one picture is an `av.VideoFrame`.
"""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from typing_extensions import override

from attnscope._types import Crop, Frames
from attnscope.errors import VideoError, quote

if TYPE_CHECKING:
    import av


NO_CROP: Crop = (0.0, 0.0, 0.0, 0.0)
_EDITED_FRAMES = 8  # an edit list may hide a few coded frames at the ends
_JUMP_FRAMES, _DRIFT_FRAMES = 0.6, 1.5
_WHOLE_PICTURE = 2  # of one frame nothing about cuts can be said
_KEPT_FRAMES, _KEPT_BYTES = 320, 512 * 2**20  # of a clip this short the pictures are kept and decoded once


class Video(ABC):
    """A video that can be run from the start again: iterate to get its pictures in order.

    ``fps`` is the frame rate, ``size`` (height, width) after cropping; ``num_frames`` is known once it ran through.
    """

    fps: Fraction
    size: tuple[int, int]
    num_frames: int

    @abstractmethod
    def __iter__(self) -> Iterator[av.VideoFrame]:
        """Run it once."""

    def batches(self, indices: Sequence[int], *, height: int, width: int, size: int = 8) -> Iterator[Frames]:
        """Give frames by rising index, scaled to fill height x width and cut to it in the middle, a few at a time."""
        waiting = list(indices)
        ready: list[Frames] = []
        scaler = Scaler()
        for index, picture in enumerate(self):
            if not waiting:
                break
            if index == waiting[0]:
                ready.append(_fill(scaler, picture, height, width))
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
    """Frames that are already in memory.

    >>> video = ArrayVideo(np.zeros((3, 32, 64, 3), np.uint8), fps=16)
    >>> video.num_frames, video.size, len(list(video))
    (3, (32, 64), 3)
    """

    def __init__(self, frames: Frames, fps: Fraction | int | float) -> None:
        require_frames(frames)
        if not fps > 0:
            raise VideoError(
                expected="a positive frame rate",
                got=f"{fps}",
                where="as fps",
                remedy="give frames per second",
            )
        self._frames = frames
        self.fps = Fraction(fps).limit_denominator(100_000)
        self.size = (int(frames.shape[1]), int(frames.shape[2]))
        self.num_frames = len(frames)

    @override
    def __iter__(self) -> Iterator[av.VideoFrame]:
        import av

        for frame in self._frames:
            yield av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")


class FileVideo(Video):
    """A video file; ``crop`` takes shares off the picture: top, right, bottom, left.

    The pictures of a short clip (up to 320 frames and 512 MiB as decoded) are kept once it ran to its end; a longer one
    is decoded anew each time.

    Raises
    ------
    VideoError
        The file is missing, holds no video, cannot be decoded to its end, has fewer than 2 frames, or its frames are
        not evenly spaced in time: a cut frame would not say when the cut is.
    """

    def __init__(self, path: str | os.PathLike[str], *, crop: Crop = NO_CROP) -> None:
        import av

        self._path = Path(path)
        if not os.path.isfile(self._path):
            raise VideoError(
                expected="a video file",
                got=f"{quote(str(path))}, which is no file",
                where="as a video",
                remedy="check the path",
            )
        try:
            with av.open(str(self._path)) as container:
                if not container.streams.video:
                    raise VideoError(
                        expected="a video file",
                        got="a file with no video stream",
                        where=f"at {self._path}",
                        remedy="check the file",
                    )
                stream = container.streams.video[0]
                rate, height, width = stream.average_rate, stream.height, stream.width
                self._promised = stream.frames
        except av.error.FFmpegError as error:
            raise _decoding_error(error, self._path) from error
        if not rate or not height or not width:
            raise VideoError(
                expected="a video with a size and a frame rate",
                got=f"{width}x{height} at {rate} fps",
                where=f"in {self._path}",
                remedy="re-encode it",
            )
        self._crop = crop
        self._box = _crop_box(height, width, crop)
        self.fps = Fraction(rate)
        self.size = (self._box[1] - self._box[0], self._box[3] - self._box[2])
        self.num_frames = 0
        self._kept: list[av.VideoFrame] = []

    @override
    def __iter__(self) -> Iterator[av.VideoFrame]:
        if self._kept:
            yield from self._kept
            return
        kept: list[av.VideoFrame] = []
        num_bytes, is_short = 0, True
        for picture in self._decoded():
            if is_short:
                kept.append(picture)
                num_bytes += sum(plane.buffer_size for plane in picture.planes)
                is_short = len(kept) <= _KEPT_FRAMES and num_bytes <= _KEPT_BYTES
            else:
                kept.clear()
            yield picture
        self._kept = kept if is_short else []

    def _decoded(self) -> Iterator[av.VideoFrame]:
        import av

        clock, index = _Clock(self.fps, self._path), -1
        cropped = None
        try:
            with av.open(str(self._path)) as container:
                stream = container.streams.video[0]
                stream.codec_context.thread_count = 1  # files are decoded side by side
                for index, picture in enumerate(container.decode(stream)):
                    clock.tick(index, picture)
                    if self._crop != NO_CROP:
                        cropped = cropped or _build_crop(stream, self._box)
                        picture = cropped(picture)
                    yield picture
        except av.error.FFmpegError as error:
            raise _decoding_error(error, self._path) from error
        self.num_frames = index + 1
        if self.num_frames < self._promised - _EDITED_FRAMES:
            raise VideoError(
                expected=f"the {self._promised} frames that the file promises",
                got=f"{self.num_frames}",
                where=f"in {self._path}",
                remedy="it is cut short, fetch it anew",
            )
        if self.num_frames < _WHOLE_PICTURE:
            raise VideoError(
                expected=f"a video of at least {_WHOLE_PICTURE} frames",
                got=f"{self.num_frames}",
                where=f"in {self._path}",
                remedy="give a longer one",
            )


class _Clock:
    """Refuses frames that are not evenly spaced, as soon as one comes."""

    def __init__(self, fps: Fraction, path: Path) -> None:
        self._gap_s = 1 / float(fps)
        self._path = path
        self._first_s = 0.0
        self._last_s: float | None = None

    def tick(self, index: int, picture: Any) -> None:
        now_s = picture.time
        if now_s is None:
            now_s = index * self._gap_s  # a stream without time stamps has no rate but its own
        if self._last_s is None:
            self._first_s = self._last_s = now_s
            return
        jump = abs(now_s - self._last_s - self._gap_s) / self._gap_s
        # a rate that changes half-way makes small gaps that add up
        drift = abs(now_s - self._first_s - index * self._gap_s) / self._gap_s
        if jump > _JUMP_FRAMES or drift > _DRIFT_FRAMES:
            raise VideoError(
                expected=f"frames {self._gap_s:.3f} s apart",
                got=f"{now_s - self._last_s:.3f} s before frame {index}",
                where=f"of {self._path}",
                remedy="re-encode it at a constant rate",
            )
        self._last_s = now_s


def require_frames(frames: Frames) -> None:
    """Refuse an array that is no video: uint8 (frames, height, width, 3), at least 2 frames.

    >>> require_frames(np.zeros((4, 8, 8), np.uint8))
    Traceback (most recent call last):
        ...
    attnscope.errors.VideoError: expected uint8 frames of shape (frames, height, width, 3), got uint8 of shape \
(4, 8, 8); convert them
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        raise VideoError(
            expected="uint8 frames of shape (frames, height, width, 3)",
            got=f"{frames.dtype}",
            where=f"of shape {frames.shape}",
            remedy="convert them",
        )
    if len(frames) < _WHOLE_PICTURE or min(frames.shape[1:3]) < 1:
        raise VideoError(
            expected=f"a video of at least {_WHOLE_PICTURE} frames",
            got=f"shape {frames.shape}",
            where="in score",
            remedy="give a longer one",
        )


class Scaler:
    """Scales the pictures of one video, one like the other: what swscale prepares for a size is prepared once.

    One thread: more of them cost what they gain on pictures of this size, and files are scored side by side.
    """

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()

    def colour(self, picture: av.VideoFrame, height: int, width: int) -> Frames:
        """Squeeze one picture to height x width: (H, W, 3)."""
        return np.asarray(
            self._reformatter.reformat(picture, width, height, "rgb24", threads=1).to_ndarray(), np.uint8
        )

    def grey(self, picture: av.VideoFrame, most: int) -> Frames:
        """Give the brightness of one picture, (H, W), its longer side at most ``most``."""
        from av.video.reformatter import Colorspace, Interpolation

        height, width = fit_size(picture, most)
        # of one standard on both sides, what is coded as brightness stays as it is; else swscale mixes colour into it
        same = int(Colorspace.ITU601)
        grey = self._reformatter.reformat(
            picture, width, height, "gray", same, same, interpolation=int(Interpolation.AREA), threads=1
        )
        return np.asarray(grey.to_ndarray(), np.uint8)


def fit_size(picture: av.VideoFrame, most: int) -> tuple[int, int]:
    """Height and width of a picture whose longer side is at most ``most``."""
    share = min(1.0, most / max(picture.height, picture.width))
    return max(2, round(picture.height * share)), max(2, round(picture.width * share))


def squeeze(picture: av.VideoFrame, height: int, width: int) -> Frames:
    """Squeeze one picture to height x width: (H, W, 3)."""
    return Scaler().colour(picture, height, width)


def _fill(scaler: Scaler, picture: av.VideoFrame, height: int, width: int) -> Frames:
    scale = max(height / picture.height, width / picture.width)
    rows, columns = max(height, round(picture.height * scale)), max(width, round(picture.width * scale))
    top, left = (rows - height) // 2, (columns - width) // 2
    return scaler.colour(picture, rows, columns)[top : top + height, left : left + width]


def _crop_box(height: int, width: int, crop: Crop) -> tuple[int, int, int, int]:
    top, right, bottom, left = crop
    if not all(0 <= share < 1 for share in crop) or top + bottom >= 1 or left + right >= 1:
        raise VideoError(
            expected="shares top, right, bottom, left that leave a picture",
            got=f"{crop}",
            where="as crop",
            remedy="crop less",
        )
    # floor on the one side, ceil on the other: of a tiny picture one pixel stays
    return (
        math.floor(top * height),
        math.ceil(height - bottom * height),
        math.floor(left * width),
        math.ceil(width - right * width),
    )


def _build_crop(stream: Any, box: tuple[int, int, int, int]) -> Callable[[av.VideoFrame], av.VideoFrame]:
    """Return what cuts a picture to the box without copying it; a chroma sample may pull an edge by one pixel."""
    import av

    top, bottom, left, right = box
    graph = av.filter.Graph()
    source = graph.add_buffer(template=stream)
    crop = graph.add("crop", f"{right - left}:{bottom - top}:{left}:{top}")
    sink = graph.add("buffersink")
    source.link_to(crop)
    crop.link_to(sink)
    graph.configure()

    def cropped(picture: av.VideoFrame) -> av.VideoFrame:
        graph.push(picture)
        return cast("av.VideoFrame", graph.pull())

    return cropped


def _decoding_error(error: Exception, path: Path) -> VideoError:
    reason = " ".join(str(error).split())
    return VideoError(
        expected="a video that can be decoded",
        got=quote(reason, 120),
        where=f"in {path}",
        remedy="re-encode it",
    )
