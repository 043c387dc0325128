"""Read off the pixels when a transition begins and ends: a dissolve is a straight line from one picture to another.

A frame of a dissolve is ``(1 - a) A + a B`` with ``a`` rising evenly from 0 to 1, where A is the last frame of the old
shot and B the first of the new one. Projected on the line from A to B, frames before lie at 0, frames after at 1, and
what is between shows the length to the frame. Movement is not on that line, or far less than the blend.

Legend: T frames; thumbnails are (T, h, w, 3) RGB uint8.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Thumbnails = npt.NDArray[np.uint8]

_REACH_FRAMES = 8
_OUTSIDE_FRAMES = 3  # frames on each side that must lie still on the line
_SMALLEST_STEP = 3.0  # grey levels, root mean square; below it A and B are one picture


class Blend(NamedTuple):
    """Frames ``start`` to ``stop`` (half-open) are blended; none for a hard cut.

    ``error`` is the root mean square of the distance from the straight line, as a share of the way from A to B.
    """

    start: int
    stop: int
    error: float


def fit_blend(thumbnails: Thumbnails, start: int, stop: int, peak: int) -> Blend | None:
    """Find the straight blend that explains the frames around ``start`` to ``stop`` best; None where nothing changes.

    It reaches at most 8 frames beyond them, as a camera that moves steadily may look like a long blend, and touches
    ``peak``: a blended frame, or the last one before a hard cut, which may be wrong by one.

    >>> ramp = np.array([0, 0, 0, 0, 0, 40, 80, 120, 160, 200, 200, 200, 200, 200], np.uint8)
    >>> fit_blend(ramp[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8), 6, 7, 6)
    Blend(start=5, stop=9, error=0.0)
    """
    low = max(1, start - _REACH_FRAMES)
    high = min(len(thumbnails) - 1, stop + _REACH_FRAMES)
    offset = max(0, low - 1 - _OUTSIDE_FRAMES)
    here = thumbnails[offset : high + _OUTSIDE_FRAMES + 1].reshape(-1, thumbnails[0].size).astype(np.float64)
    products = here @ here.T
    least = _SMALLEST_STEP**2 * here.shape[1]
    best: Blend | None = None
    for first in range(low, min(high, peak + 2) + 1):
        for last in range(max(first, peak - 1), high + 1):
            error = _error(products, first - 1 - offset, last - offset, least)
            if error is not None and (best is None or error < best.error):
                best = Blend(first, last, error)
    return best


def _error(products: npt.NDArray[np.float64], a: int, b: int, least: float) -> float | None:
    """How far frames around a and b are from the line between them; ``products`` holds all scalar products."""
    length = products[b, b] - 2 * products[a, b] + products[a, a]
    if length < least:
        return None
    around = slice(max(0, a - _OUTSIDE_FRAMES), min(len(products), b + _OUTSIDE_FRAMES + 1))
    place = (products[around, b] - products[around, a] - products[a, b] + products[a, a]) / length
    expected = np.clip(np.arange(around.start - a, around.stop - a) / (b - a), 0, 1)
    off = place - expected
    num_others = len(off) - 2  # frames a and b are on the line by definition
    return math.sqrt(off @ off / num_others) if num_others else None
