"""Read and write video files: frames as uint8 arrays, and the clock they came with.

Legend: T frames, H height, W width; frames are (T, H, W, 3) RGB.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from attnscope._types import Crop, Frames
from attnscope.errors import VideoError
from attnscope.storage.disk import replace_file
from attnscope.video.clock import positive_rate
from attnscope.video.decoding import VideoFile
from attnscope.video.display import NO_CROP, crop_box
from attnscope.video.names import escape_name
from attnscope.video.scaling import to_rgb
from attnscope.video.writing import VideoWriter

_FEWEST_FRAMES = 5  # two latent frames of a causal stride of 4

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


def fps_of(pipe: object) -> Fraction:
    """Frames per second of a pipeline's videos: what it says itself, else 16, which the Wan models make."""
    return Fraction(getattr(pipe, "fps", 16))


def read_video(
    path: str | os.PathLike[str],
    *,
    height: int,
    width: int,
    fps: Fraction | int | None = None,
    max_frames: int | None = None,
    crop: Crop = NO_CROP,
) -> Footage:
    """Take frames from a video file, scaled to fill height x width and cut to it in the middle.

    The file's own frames are used, never blended: with ``fps`` below the file's rate every frame that is nearest to
    a tick is taken. If more than ``max_frames`` remain, as many are taken evenly over the whole file and ``fps``
    falls accordingly. The count is brought to 4n + 1 by leaving out frames at the end. ``crop`` removes shares of
    the picture first: top, right, bottom, left.

    Raises
    ------
    VideoError
        As :class:`attnscope.video.decoding.VideoFile`, or the file has fewer than 5 frames, or a size, rate or crop is
        asked for that leaves nothing.
    """
    rate = None if fps is None else positive_rate(fps)
    _require_sensible(height, width, max_frames, crop)
    file = VideoFile(path, crop=crop, fewest=_FEWEST_FRAMES)
    pictures = [_fit(to_rgb(picture), height, width) for picture in file]
    source_fps = file.fps
    ticks = _choose(len(pictures), source_fps, rate or source_fps, max_frames)
    if len(ticks) < _FEWEST_FRAMES:
        raise VideoError(
            expected="a video of at least 5 frames",
            got=f"{len(pictures)}, of which {len(ticks)} would be taken",
            where=f"in {escape_name(path)}",
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
        As :class:`attnscope.video.decoding.VideoFile`, but a single frame is enough.
    """
    return np.stack([to_rgb(picture) for picture in VideoFile(path, fewest=1)])


def write_video(path: str | os.PathLike[str], frames: Frames, fps: Fraction | int) -> Path:
    """Write frames as an H.264 mp4 file that every browser plays; returns the path."""
    path = Path(path)
    height, width = map(int, frames.shape[1:3])
    with replace_file(path) as part, VideoWriter(part, fps, height=height, width=width) as file:
        for picture in frames:
            file.write(picture)
    return path


def mp4_of(frames: Frames, fps: Fraction | int) -> bytes:
    """Write frames as an H.264 mp4 into memory; the same frames give the same bytes.

    >>> mp4_of(np.zeros((5, 16, 16, 3), np.uint8), 16)[4:8]
    b'ftyp'
    """
    target = io.BytesIO()
    height, width = map(int, frames.shape[1:3])
    with VideoWriter(target, fps, height=height, width=width, num_threads=1) as file:
        for picture in frames:
            file.write(picture)
    return target.getvalue()


def _require_sensible(
    height: int,
    width: int,
    max_frames: int | None,
    crop: Crop,
) -> None:
    if height < 1 or width < 1 or (max_frames is not None and max_frames < 5):
        raise VideoError(
            expected="at least 1 pixel and at least 5 frames",
            got=f"height {height}, width {width}, max_frames {max_frames}",
            where="in read_video",
            remedy="ask for more",
        )
    crop_box(height, width, crop)


def _fit(picture: Frames, height: int, width: int) -> Frames:
    """Scale so that height x width is filled, then cut the middle out."""
    from PIL import Image

    image = Image.fromarray(picture)
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
