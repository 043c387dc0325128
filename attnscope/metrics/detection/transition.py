"""A transition: where one shot becomes the next, and over how many frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

TransitionKind = Literal["cut", "dissolve"]

HARD_CUT_FRAMES = 2  # compression smears a hard cut over two frames


@dataclass(frozen=True)
class Transition:
    """How one shot becomes the next.

    ``cut_frame`` is the first frame in which the new shot prevails. Frames ``start_frame`` to ``stop_frame``
    (half-open) show both shots, or the black between them; for a hard cut there are none. ``probability`` is None where
    the detector gives none. ``num_votes`` says how many of the three detectors of a vote saw it, None where there was
    no vote: a dissolve is seen by the network alone, and then a vote cannot be had.
    """

    cut_frame: int
    start_frame: int
    stop_frame: int
    kind: TransitionKind
    probability: float | None
    num_votes: int | None = None

    @property
    def num_frames(self) -> int:
        """How many frames show both shots."""
        return self.stop_frame - self.start_frame


def make_transition(start: int, stop: int, probability: float | None) -> Transition:
    """A dissolve, or a hard cut where so few frames are blended that compression may have done it."""
    middle = (start + stop) // 2
    if stop - start > HARD_CUT_FRAMES:
        return Transition(middle, start, stop, "dissolve", probability)
    return Transition(middle, middle, middle, "cut", probability)


def find_runs(hot: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Stretches that are true, half-open."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], hot, [False]]).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]
