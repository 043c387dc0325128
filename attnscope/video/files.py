"""Read and write video files: frames as uint8 arrays, and the clock they came with.

Legend: T frames, H height, W width; frames are (T, H, W, 3) RGB.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from attnscope._types import Frames
from attnscope.errors import VideoError, quote

# An edit list may hide a few coded frames at the ends; more than these and the file is cut short.
_EDITED_FRAMES = 8

DEFAULT_SIGMAS = (0.9, 0.75, 0.5, 0.25, 0.1)
"""Noise levels at which a video is looked at; block structure is read at 0.5 and below."""


@dataclass(frozen=True)
class Footage:
    """Frames that were taken from a video file, and which ones they were.

    ``source_frame[k]`` is the index in the file of frame k; ``fps`` is the rate of the frames that were taken.
    """

    frames: Frames
    fps: Fraction
    source_frame: tuple[int, ...]
    source_fps: Fraction
    num_source_frames: int

    def at(self, source_frame: int) -> int:
        """Translate a cut: the first frame taken at or after frame ``source_frame`` of the file."""
        return int(np.searchsorted(self.source_frame, source_frame))


def fps_of(pipe: Any) -> Fraction:
    """Frames per second of a pipeline's videos: what it says itself, else 16, which the Wan models make."""
    return Fraction(getattr(pipe, "fps", 16))


def read_video(
    path: str | os.PathLike[str],
    *,
    height: int,
    width: int,
    fps: Fraction | int | None = None,
    max_frames: int | None = None,
    crop: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
) -> Footage:
    """Take frames from a video file, scaled to fill height x width and cut to it in the middle.

    The file's own frames are used, never blended: with ``fps`` below the file's rate every frame that is nearest to
    a tick is taken. If more than ``max_frames`` remain, as many are taken evenly over the whole file and ``fps``
    falls accordingly. The count is brought to 4n + 1 by leaving out frames at the end. ``crop`` removes shares of
    the picture first: top, right, bottom, left.

    Raises
    ------
    VideoError
        The file is missing, holds no video, cannot be decoded to its end, has a varying frame rate, or fewer than 5
        frames; or a size, rate or crop is asked for that leaves nothing.
    """
    _require_sensible(height, width, fps, max_frames, crop)
    pictures, source_fps = _decode(Path(path), height, width, crop)
    ticks = _choose(len(pictures), source_fps, source_fps if fps is None else Fraction(fps), max_frames)
    if len(ticks) < 5:
        raise VideoError(
            expected="a video of at least 5 frames",
            got=f"{len(pictures)}, of which {len(ticks)} would be taken",
            where=f"in {path}",
            remedy="give a longer one or a higher fps",
        )
    step = Fraction(ticks[-1] - ticks[0], len(ticks) - 1)
    return Footage(
        np.stack([pictures[i] for i in ticks]), source_fps / step, tuple(ticks), source_fps, len(pictures)
    )


def read_frames(path: str | os.PathLike[str]) -> Frames:
    """Read every frame of a video file as it is.

    Raises
    ------
    VideoError
        As :func:`read_video`.
    """
    import av

    try:
        with av.open(str(path)) as container:
            return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    except (av.error.FFmpegError, IndexError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise VideoError(
            expected="a video that can be decoded",
            got=reason,
            where=f"at {path}",
            remedy="delete it",
        ) from error


def write_video(path: str | os.PathLike[str], frames: Frames, fps: Fraction | int) -> Path:
    """Write frames as an H.264 mp4 file that every browser plays; returns the path."""
    import av

    path = Path(path)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps), options={"crf": "16"})
        stream.height, stream.width = int(frames.shape[1]), int(frames.shape[2])
        stream.pix_fmt = "yuv420p"
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def _require_sensible(
    height: int,
    width: int,
    fps: Fraction | int | None,
    max_frames: int | None,
    crop: tuple[float, float, float, float],
) -> None:
    top, right, bottom, left = crop
    if (
        height < 1
        or width < 1
        or (fps is not None and fps <= 0)
        or (max_frames is not None and max_frames < 5)
    ):
        raise VideoError(
            expected="at least 1 pixel, a positive rate and at least 5 frames",
            got=f"height {height}, width {width}, fps {fps}, max_frames {max_frames}",
            where="in read_video",
            remedy="ask for more",
        )
    if not all(0 <= share < 1 for share in crop) or top + bottom >= 1 or left + right >= 1:
        raise VideoError(
            expected="shares top, right, bottom, left that leave a picture",
            got=f"{crop}",
            where="as crop of read_video",
            remedy="crop less",
        )


def _decode(
    path: Path, height: int, width: int, crop: tuple[float, float, float, float]
) -> tuple[list[Frames], Fraction]:
    import av

    if not os.path.isfile(path):
        raise VideoError(
            expected="a video file",
            got=f"{quote(str(path))}, which is no file",
            where="as a video",
            remedy="check the path",
        )
    times: list[float] = []
    pictures: list[Frames] = []
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise VideoError(
                    expected="a video file",
                    got="a file with no video stream",
                    where=f"at {path}",
                    remedy="check the file",
                )
            stream = container.streams.video[0]
            rate, promised = stream.average_rate or stream.guessed_rate, stream.frames
            for frame in container.decode(stream):
                times.append(float(frame.time or 0.0))
                pictures.append(_fit(frame.to_ndarray(format="rgb24"), height, width, crop))
    except av.error.FFmpegError as error:
        raise VideoError(
            expected="a video that can be decoded",
            got=quote(str(error), 120),
            where=f"in {path}",
            remedy="re-encode it",
        ) from error
    if len(pictures) < promised - _EDITED_FRAMES:
        raise VideoError(
            expected=f"the {promised} frames that the file promises",
            got=f"{len(pictures)}",
            where=f"in {path}",
            remedy="it is cut short, fetch it anew",
        )
    _check_rate(path, times, rate)
    return pictures, Fraction(rate or 1)


def _check_rate(path: Path, times: list[float], rate: Fraction | None) -> None:
    if rate is None or not times:
        raise VideoError(
            expected="a video with frames and a frame rate",
            got="neither",
            where=f"in {path}",
            remedy="re-encode it",
        )
    gaps = np.diff(times)
    if len(gaps) and np.max(np.abs(gaps - 1 / float(rate))) > 0.6 / float(rate):
        worst = float(gaps[np.argmax(np.abs(gaps - 1 / float(rate)))])
        raise VideoError(
            expected="a constant frame rate",
            got=f"gaps of up to {worst:.3f} s at {float(rate):.3g} fps",
            where=f"in {path}",
            remedy="re-encode it at a constant rate",
        )


def _fit(picture: Any, height: int, width: int, crop: tuple[float, float, float, float]) -> Frames:
    """Crop the border, then scale so that height x width is filled, then cut the middle out."""
    from PIL import Image

    top, right, bottom, left = crop
    rows, columns = picture.shape[:2]
    # floor on the one side, ceil on the other: of a tiny picture one pixel stays
    inner = picture[
        math.floor(top * rows) : math.ceil(rows - bottom * rows),
        math.floor(left * columns) : math.ceil(columns - right * columns),
    ]
    image = Image.fromarray(inner)
    scale = max(height / image.height, width / image.width)
    size = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
    x, y = (size[0] - width) // 2, (size[1] - height) // 2
    scaled = image.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC)
    return np.asarray(scaled.crop((x, y, x + width, y + height)), dtype=np.uint8)


def _choose(num_frames: int, source_fps: Fraction, fps: Fraction, max_frames: int | None) -> list[int]:
    if fps >= source_fps:
        chosen = list(range(num_frames))
    else:
        count = int((num_frames - 1) * fps / source_fps) + 1
        chosen = [round(k * source_fps / fps) for k in range(count)]
        chosen = [frame for frame in chosen if frame < num_frames]
    if max_frames is not None and len(chosen) > max_frames:
        chosen = [chosen[i] for i in np.round(np.linspace(0, len(chosen) - 1, max_frames)).astype(int)]
    return chosen[: (len(chosen) - 1) // 4 * 4 + 1]
