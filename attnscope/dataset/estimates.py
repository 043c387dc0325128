"""What a build will cost, before it is begun: read off the headers of the films, by speeds that were measured.

The speeds are milliseconds of one processor core for a frame, measured on one machine
(experiments/dataset_pipeline); another one is faster or slower as a whole. How many films survive the screening is
not known before, so there are two ends: none, and all.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from attnscope.dataset.settings import Settings
from attnscope.errors import VideoError
from attnscope.video.decoding import VideoFile

_MOST_SAMPLED = 100  # films whose headers are read


class _Speed(NamedTuple):
    """Milliseconds for a frame, and for each megapixel of it."""

    frame_ms: float
    megapixel_ms: float

    def hours(self, num_frames: float, megapixels: float) -> float:
        """Core-hours for so many frames of that size."""
        return num_frames * (self.frame_ms + self.megapixel_ms * megapixels) / 3.6e6


_JOIN = _Speed(1.0, 2.9)
_LOOK = _Speed(4.0, 1.3)
_CUT = _Speed(1.0, 11.7)
_BITS_PER_PIXEL = 0.12  # of a written clip


class Cost(msgspec.Struct, frozen=True):
    """What a build will cost. ``least`` is where no candidate survives the screening, ``most`` where all do.

    ``num_sampled`` headers were read, ``num_unreadable`` of them in vain; films are taken to be as those are on
    average.
    """

    num_sources: int
    num_sampled: int
    num_unreadable: int
    hours_of_film: float
    num_frames: int
    core_hours_least: float
    core_hours_most: float
    seconds_least: float
    seconds_most: float
    gigabytes_most: float
    caption_requests_most: int


def estimate_cost(
    folder: Path, files: Sequence[str], settings: Settings, *, processes: int, captions: bool
) -> Cost:
    """Estimate what a build of these films costs; of many films, some at even distance are looked at.

    >>> cost = estimate_cost(Path("nowhere"), ["a.mp4"], Settings(), processes=2, captions=False)
    >>> cost.num_sampled, cost.num_unreadable, cost.core_hours_most
    (1, 1, 0.0)
    """
    step = max(1, -(-len(files) // _MOST_SAMPLED))
    sampled = files[::step]
    headers = [header for file in sampled if (header := _read_header(folder / file)) is not None]
    scale = len(files) / max(1, len(sampled))
    num_frames = scale * sum(header.num_frames for header in headers)
    hours_of_film = scale * sum(header.duration_s for header in headers) / 3600
    least, most, gigabytes = 0.0, 0.0, 0.0
    for num, megapixels, _ in headers:
        join = _JOIN.hours(num, megapixels)
        least += scale * join
        most += scale * (join + _LOOK.hours(num, megapixels) + _CUT.hours(num, megapixels))
        gigabytes += scale * num * megapixels * _BITS_PER_PIXEL / 8 / 1000
    clips_most = hours_of_film * 3600 / max(settings.shortest_clip_s, settings.shortest_shot_s, 0.1)
    return Cost(
        num_sources=len(files),
        num_sampled=len(sampled),
        num_unreadable=len(sampled) - len(headers),
        hours_of_film=_short(hours_of_film),
        num_frames=round(num_frames),
        core_hours_least=_short(least),
        core_hours_most=_short(most),
        seconds_least=_short(3600 * least / processes),
        seconds_most=_short(3600 * most / processes),
        gigabytes_most=_short(gigabytes),
        caption_requests_most=round(clips_most * (1 + settings.most_shots)) if captions else 0,
    )


def _short(value: float) -> float:
    """Three digits: no more is known."""
    return float(f"{value:.3g}")


class _Header(NamedTuple):
    num_frames: int
    megapixels: float
    duration_s: float


def _read_header(path: Path) -> _Header | None:
    try:
        video = VideoFile(path)
    except VideoError:
        return None  # it will be a row with its reason
    height, width = video.size
    num = video.promised_frames
    return _Header(num, height * width / 1e6, float(num / video.fps) if video.fps else 0.0)
