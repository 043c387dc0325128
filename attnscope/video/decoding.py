"""Decode a video file from its start to its end: the one place that opens files, for probing, metrics and datasets.

What a file promises (frames, duration) is held against what comes; what a decoder marks as damaged is refused.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnscope._types import Crop
from attnscope.errors import VideoError, quote
from attnscope.video.clock import JUMP_FRAMES, FrameClock
from attnscope.video.display import NO_CROP, Display
from attnscope.video.names import escape_name

if TYPE_CHECKING:
    import av

_EDITED_FRAMES = 8  # a few frames at the ends may be missing without harm: encoders promise a little too much
_DURATION_IN_HEADER = ("matroska,webm", "mov,mp4", "flv", "asf", "nut", "gxf", "rm")
_INDEXED = ("mov,mp4", "matroska,webm")  # where a frame is found by its stamp
_PACKED_JUMP_FRAMES = 1.1  # a pack of an MPEG program stream holds several frames and stamps one of them
FEWEST_FRAMES = 2  # of one frame nothing about cuts can be said


class VideoFile:
    """A video file as a player shows it: iterate to decode it once.

    Of several streams it is the one that players take, turned upright, with square pixels and all pictures of the size
    of the first. ``size`` (height, width) after cropping is known at once; ``fps`` is the rate of the header until it
    ran through, and then that of the time stamps; ``num_frames`` is 0 until then.

    Parameters
    ----------
    path : path
        The file.
    crop : four floats
        Shares of the picture that are cut off: top, right, bottom, left.
    fewest : int
        The least number of frames.

    Raises
    ------
    VideoError
        The file is missing, holds no video, cannot be decoded to its end or is damaged on the way, has too few
        frames, or its frames are not evenly spaced in time: a cut frame would not say when the cut is.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, crop: Crop = NO_CROP, fewest: int = FEWEST_FRAMES
    ) -> None:
        self._path, self._fewest = Path(path), fewest
        self._where = f"in {escape_name(path)}"
        if not os.path.isfile(path):
            raise VideoError(
                expected="a video file",
                got=f"{quote(escape_name(path))}, which is no file",
                where="as path",
                remedy="check the path",
            )
        with self._open() as (container, stream):
            first = next(container.decode(stream), None)
            if first is None or not first.width or not first.height:
                raise self._too_short(0)
            self._declared = (stream.guessed_rate, stream.codec_context.framerate, stream.average_rate)
            self._promised_frames = stream.frames
            self._promised_s = 0.0
            container_name = container.format.name
            if container_name.startswith(_DURATION_IN_HEADER):
                self._promised_s = (container.duration or 0) / 1e6
            packed = container_name == "mpeg"
            self._jump = _PACKED_JUMP_FRAMES if packed else JUMP_FRAMES
            pixel_shape = stream.sample_aspect_ratio
        self._display = Display(first, pixel_shape, crop=crop, where=self._where)
        # what lies beside a picture and the picture hold each other, and both the memory of a whole clip around them
        del first
        gc.collect(0)
        self.size = self._display.size
        self.fps = Fraction(next((rate for rate in self._declared if rate), 0))
        self.num_frames = 0
        self.first_stamp: int | None = None
        self._is_indexed = container_name.startswith(_INDEXED)

    def __iter__(self) -> Iterator[av.VideoFrame]:
        """Decode it once; what it promises and whether frames are evenly spaced is checked on the way."""
        with self._open() as (container, stream):
            clock = FrameClock(
                stream.time_base, declared=self._declared, where=self._where, jump_frames=self._jump
            )
            num_packets, ends_s = 0, 0.0
            for packet in container.demux():
                ends_s = max(ends_s, _end_s(packet))
                if packet.stream is not stream:
                    continue
                num_packets += packet.size > 0
                for picture in packet.decode():
                    if picture.is_corrupt:
                        raise self._damage_error(clock.num_frames)
                    clock.tick(picture.pts)
                    yield self._display.show(picture)
        self._require_whole(num_packets, ends_s, clock.num_frames)
        self.fps, self.num_frames = clock.rate(), clock.num_frames
        self.first_stamp = clock.first_stamp(self.fps) if self._is_indexed else None

    @property
    def promised_frames(self) -> int:
        """How many frames the header promises, before anything was decoded; 0 where it says nothing."""
        return self._promised_frames or round(self._promised_s * self.fps)

    def stretch(
        self, start: int, stop: int, *, fps: Fraction, first_stamp: int | None
    ) -> Iterator[av.VideoFrame]:
        """Decode frames ``start`` to ``stop`` (half-open) alone, the same pictures that a whole pass gives.

        ``fps`` and ``first_stamp`` are what a whole pass found. With a stamp it begins at the key frame before;
        without one, or where that does not lead to the frame, at the beginning.

        Raises
        ------
        VideoError
            A frame is damaged, or the file ends before.
        """
        due = start
        for whole in (False, True):
            if first_stamp is None and not whole:
                continue
            for frame, picture in self._number_pictures(0 if whole else start, fps, first_stamp):
                if frame < due:
                    continue
                if frame > due or picture.is_corrupt:
                    break
                yield self._display.show(picture)
                due += 1
                if due == stop:
                    return
        raise VideoError(
            expected=f"frames {start} to {stop}",
            got=f"none behind frame {due - 1} that is whole",
            where=self._where,
            remedy="fetch it anew",
        )

    def _number_pictures(
        self, start: int, fps: Fraction, first_stamp: int | None
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decode from the key frame before a frame, or from the beginning, each picture with its number."""
        with self._open() as (container, stream):
            if not start or first_stamp is None:
                yield from enumerate(container.decode(stream))
                return
            step = 1 / (fps * stream.time_base)
            container.seek(first_stamp + int(start * step), stream=stream)
            for picture in container.decode(stream):
                if picture.pts is not None:
                    yield round((picture.pts - first_stamp) / step), picture

    @contextmanager
    def _open(self) -> Iterator[tuple[Any, Any]]:
        """Open the file at the stream that a player takes; what FFmpeg says of it becomes an error of ours."""
        import av

        try:
            # an absolute path, or FFmpeg takes what stands before a colon for a protocol; and no file may name others
            container = av.open(
                os.path.abspath(self._path), metadata_errors="replace", options={"protocol_whitelist": "file"}
            )
            with container:
                stream = container.streams.best("video")
                if stream is None or av.stream.Disposition.attached_pic in stream.disposition:
                    raise VideoError(
                        expected="a video file",
                        got="no video stream",
                        where=self._where,
                        remedy="check the file",
                    )
                stream.codec_context.thread_count = 1  # files are decoded side by side
                yield container, stream
        except av.error.FFmpegError as error:
            raise VideoError(
                expected="a video that can be decoded",
                got=quote(" ".join(str(error.strerror or error).split()), 120),
                where=self._where,
                remedy="re-encode it",
            ) from error

    def _require_whole(self, num_packets: int, ends_s: float, num_frames: int) -> None:
        if num_packets < self._promised_frames - _EDITED_FRAMES:
            raise VideoError(
                expected=f"the {self._promised_frames} frames that the file promises",
                got=f"{num_packets}",
                where=self._where,
                remedy="it is cut short, fetch it anew",
            )
        missing_s = self._promised_s - ends_s
        if missing_s * self.fps > _EDITED_FRAMES and num_frames >= self._fewest:
            raise VideoError(
                expected=f"the {self._promised_s:.2f} s that the file promises",
                got=f"{ends_s:.2f} s",
                where=self._where,
                remedy="it is cut short, fetch it anew",
            )
        if num_frames < self._fewest:
            raise self._too_short(num_frames)

    def _damage_error(self, frame: int) -> VideoError:
        return VideoError(
            expected="frames that are whole",
            got=f"frame {frame}, which the decoder calls damaged",
            where=self._where,
            remedy="fetch it anew, or re-encode it to accept what is left",
        )

    def _too_short(self, num_frames: int) -> VideoError:
        return VideoError(
            expected=f"a video of at least {self._fewest} frames",
            got=f"{num_frames}",
            where=self._where,
            remedy="give a longer one",
        )


def _end_s(packet: Any) -> float:
    """When a packet ends, from the beginning of the file; 0 where it does not say."""
    stamp = packet.pts if packet.pts is not None else packet.dts
    if stamp is None or not packet.time_base:
        return 0.0
    return float((stamp + (packet.duration or 0)) * packet.time_base)
