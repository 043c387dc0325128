"""The cuts of a finished film beside those that were asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attnscope.metrics import agreement, detect_cuts, transition_control
from attnscope.metrics.detection.cuts import DetectorName
from attnscope.metrics.detection.span import STRIDE

TOLERANCE_FRAME = 2
"""A cut this many frames from where it was asked for is that cut: half a latent frame."""

_FPS = 16  # any: nothing here is measured in seconds


@dataclass(frozen=True)
class CutCheck:
    """The cuts that were found against those that were asked for; a cut counts for one of the others at most."""

    asked_frame: tuple[int, ...]
    found_frame: tuple[int, ...]

    @property
    def num_matched(self) -> int:
        """How many cuts are where they were asked for, give or take two frames."""
        return agreement(self.found_frame, self.asked_frame, tolerance_frame=TOLERANCE_FRAME).num_matched

    @property
    def recall(self) -> float | None:
        """Share of the cuts asked for that are there; None where none was asked for."""
        return self.num_matched / len(self.asked_frame) if self.asked_frame else None

    @property
    def precision(self) -> float | None:
        """Share of the cuts that are there that were asked for; None where there is none."""
        return self.num_matched / len(self.found_frame) if self.found_frame else None

    @property
    def transition_control(self) -> float | None:
        """How well the number of cuts was kept, see :func:`attnscope.metrics.transition_control`."""
        kept = transition_control(len(self.found_frame), len(self.asked_frame))
        return None if math.isnan(kept) else kept


def check_cuts(
    asked_frame: Sequence[int],
    frames: NDArray[np.uint8],
    detector: DetectorName = "span",
    *,
    stride: int = STRIDE,
) -> CutCheck:
    """Look for the cuts of a film, by default with the detector that sees those of small models.

    ``stride`` is how many frames a latent frame of its model stands for. Even a shot of one frame counts: the first
    latent frame is one.
    """
    found = detect_cuts(frames, _FPS, detector=detector, shortest_shot_s=0, stride=stride).cuts_frame
    return CutCheck(tuple(asked_frame), found)
