"""Write a video file picture by picture, so that no film need be in memory."""

from __future__ import annotations

import os
from fractions import Fraction
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

import numpy as np

from attnscope._types import Frames
from attnscope.video.clock import positive_rate

if TYPE_CHECKING:
    import av

USUAL = {"crf": "16"}
"""How good the pictures of a written file are: hardly anybody sees a difference."""

# x264's macroblock tree looks at memory that it has not written: with it the same pictures are not always one file
_REPEATABLE = {"x264-params": "mbtree=0"}


class VideoWriter:
    """An H.264 mp4 file that every browser plays; pictures go in one after another.

    Parameters
    ----------
    target : path or file
        Where the film goes; it is there and whole once the ``with`` block was left.
    fps : Fraction or int
        Frames per second.
    height, width : int
        Size of the pictures; both even, as the colours of four pixels are one.
    options : mapping
        What the encoder x264 is told beside ``x264-params``.
    num_threads : int
        Threads of the encoder, 0 for as many as it likes. With one the same pictures give the same bytes anywhere.
    """

    def __init__(
        self,
        target: str | os.PathLike[str] | BinaryIO,
        fps: Fraction | int,
        *,
        height: int,
        width: int,
        options: dict[str, str] = USUAL,
        num_threads: int = 0,
    ) -> None:
        import av
        from av.video.reformatter import VideoReformatter

        self._fps = Fraction(positive_rate(fps))
        self._num_copied = 0
        self._reformatter = VideoReformatter()
        place = os.fspath(target) if isinstance(target, str | os.PathLike) else target
        self._container = av.open(place, "w", format="mp4")
        self._stream = self._container.add_stream(
            "libx264", rate=self._fps, options={**options, **_REPEATABLE}
        )
        self._stream.height, self._stream.width = height, width
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.thread_count = num_threads

    def write(self, picture: Frames) -> None:
        """Add one picture, (H, W, 3) RGB uint8."""
        import av

        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        self._container.mux(self._stream.encode(frame))

    def copy(self, picture: av.VideoFrame) -> None:
        """Add one picture as it was decoded, which must be of the size of the file; its time becomes that in the file.

        Its colours are not turned into RGB and back: they are written as they are coded, and the file says of them what
        its source did.
        """
        from av.video.frame import PictureType

        frame = self._reformatter.reformat(picture, format=self._stream.pix_fmt, threads=1)
        if not self._num_copied:
            context = self._stream.codec_context
            context.colorspace, context.color_range = frame.colorspace, frame.color_range
            context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
        frame.pts, frame.time_base = self._num_copied, 1 / self._fps
        frame.pict_type = PictureType.NONE  # the encoder chooses, whatever it was in its source
        self._num_copied += 1
        self._container.mux(self._stream.encode(frame))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._container.mux(self._stream.encode(None))
        self._container.close()
