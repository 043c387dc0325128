"""Where a finished video is cut, and whether it is cut where it was asked to be.

The detector is plain: it compares pictures a latent frame apart. It is calibrated on the drawn films of
`attnscope.dataset` and on videos of the embedded models, and says nothing about other footage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.uint8]

SPAN_FRAME = 4
"""The VAE spreads a cut over the four frames of a latent frame; over this span it is whole again."""

THRESHOLD = 0.246
"""Least novelty of a cut. On 200 drawn films of other seeds, the cuts lie at 0.273 and above, 99 % of the films have
nothing else above 0.226, and one of them reaches 0.269."""

TOLERANCE_FRAME = 2
"""A cut this many frames from where it was asked for is that cut: half a latent frame."""


@dataclass(frozen=True)
class CutCheck:
    """The cuts that were found against those that were asked for; a cut counts for one of the others at most."""

    asked_frame: tuple[int, ...]
    found_frame: tuple[int, ...]
    num_matched: int

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
        """How well the number of cuts was kept: (x exp(1 - x))^k of x = found / asked, k 2 below 1 and 1.6 above.

        As drawn in the figure of CineTrans (arXiv 2508.11484); it does not ask where the cuts are. None where no cut
        was asked for.
        """
        if not self.asked_frame:
            return None
        ratio = len(self.found_frame) / len(self.asked_frame)
        return float((ratio * math.exp(1 - ratio)) ** (2.0 if ratio < 1 else 1.6))


def check_cuts(asked_frame: Sequence[int], found_frame: Sequence[int]) -> CutCheck:
    """Pair the cuts, nearest first, each at most once and no farther apart than half a latent frame.

    >>> check_cuts([9, 25], [10, 24, 40]).recall, check_cuts([9, 25], [12]).recall
    (1.0, 0.0)
    """
    pairs = sorted((abs(asked - found), asked, found) for asked in asked_frame for found in found_frame)
    left = [set(asked_frame), set(found_frame)]
    matched = 0
    for distance, asked, found in pairs:
        if distance <= TOLERANCE_FRAME and asked in left[0] and found in left[1]:
            left[0].remove(asked)
            left[1].remove(found)
            matched += 1
    return CutCheck(tuple(asked_frame), tuple(found_frame), matched)


def find_cuts(frames: Pictures) -> tuple[int, ...]:
    """Return the first frame of every shot but the first, as far as pictures a latent frame apart tell.

    The change over four frames, less half of the larger change before and behind it (a fast camera changes all along),
    must reach the threshold and be the largest within four frames. The cut is the first of these frames that has at
    least half of the largest frame-to-frame change among them. ``frames`` is uint8 (frames, height, width, 3).
    """
    pictures = frames.astype(np.float32) / 127.5 - 1
    change = np.array([_distance(pictures[i], pictures[i - 1]) for i in range(1, len(pictures))])
    starts = range(1, len(pictures) - SPAN_FRAME + 1)
    over_span = {i: _distance(pictures[i + SPAN_FRAME - 1], pictures[i - 1]) for i in starts}
    novelty = {
        i: over_span[i] - 0.5 * max(over_span.get(i - SPAN_FRAME, 0.0), over_span.get(i + SPAN_FRAME, 0.0))
        for i in starts
    }
    found: set[int] = set()
    for start, value in novelty.items():
        near = [other for other in novelty if abs(other - start) < SPAN_FRAME]
        if value >= THRESHOLD and value == max(novelty[other] for other in near):
            inside = change[start - 1 : start - 1 + SPAN_FRAME]
            found.add(start + int(np.argmax(inside >= inside.max() / 2)))
    return tuple(sorted(found))


def _distance(picture: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Root mean square over pixels and colours, black to white being 2."""
    return float(np.sqrt(np.mean((picture - other) ** 2)))
