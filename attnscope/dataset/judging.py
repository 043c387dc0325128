"""The aesthetic encoder of the pipeline: it sees a picture every few seconds, if it is there at all."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from attnscope._types import Frames
from attnscope.metrics.encoders.registry import Missing, find_encoder
from attnscope.video.scaling import squeeze

if TYPE_CHECKING:
    import av

_AT_ONCE = 8  # pictures for the encoder


class Judged(NamedTuple):
    """The frames that were judged, their marks from 0 to 1, and why there are none where there are none."""

    frames: tuple[int, ...]
    marks: tuple[float, ...]
    reason: str | None


class Judge:
    """Marks one picture every ``every_s`` seconds, beginning with the first."""

    def __init__(self, every_s: float) -> None:
        self._encoder = find_encoder("aesthetic")
        self._every_s = every_s
        self._waiting: list[Frames] = []
        self._frames: list[int] = []
        self._marks: list[float] = []

    def process(self, frame: int, picture: av.VideoFrame, fps: Fraction) -> None:
        """Take the next picture of the film."""
        if isinstance(self._encoder, Missing) or frame < len(self._frames) * self._every_s * fps:
            return
        self._frames.append(frame)
        self._waiting.append(squeeze(picture, self._encoder.side, self._encoder.side))
        if len(self._waiting) == _AT_ONCE:
            self._judge()

    def finish(self) -> Judged:
        """Say what was judged, once there are no more pictures."""
        if isinstance(self._encoder, Missing):
            return Judged((), (), self._encoder.reason)
        self._judge()
        return Judged(tuple(self._frames), tuple(self._marks), None)

    def _judge(self) -> None:
        if self._waiting and not isinstance(self._encoder, Missing):
            marks = self._encoder.encode(np.stack(self._waiting))
            self._marks += [round(float(mark), 6) for mark in np.ravel(marks)]
            self._waiting = []
