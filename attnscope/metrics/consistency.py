"""Say how alike the shots of a video are, and how alike a shot stays to itself.

Legend: S shots, K frames taken of each, D numbers a vector.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np

from attnscope._types import Vectors
from attnscope.metrics.detection.transition import Transition

SHARES = (0.05, 0.35, 0.65, 0.95)
"""Where in a shot its frames are taken."""

_CLEAR_FRAMES = 4  # one latent frame: the first one after a cut is blurred by the decoder


def choose_frames(transitions: Sequence[Transition], num_frames: int) -> list[list[int]]:
    """Choose four frames of every shot, at least 4 frames away from any cut or dissolve.

    A shot that is too short for that gives its middle frame alone.

    >>> choose_frames([Transition(20, 20, 20, "cut", 0.9)], 41)
    [[1, 5, 10, 14], [25, 30, 34, 39]]
    """
    starts = [0, *(each.stop_frame + _CLEAR_FRAMES for each in transitions)]
    lasts = [*(each.start_frame - 1 - _CLEAR_FRAMES for each in transitions), num_frames - 1]
    edges = [0, *(each.cut_frame for each in transitions), num_frames]
    chosen = []
    for first, last, (start, stop) in zip(starts, lasts, pairwise(edges), strict=True):
        if last <= first:
            chosen.append([(start + stop - 1) // 2])
        else:
            chosen.append(sorted({first + math.floor(share * (last - first) + 0.5) for share in SHARES}))
    return chosen


def between_shots(shots: Sequence[Vectors]) -> dict[str, float]:
    """Say how alike the shots of one video are: 1 the same, 0 unrelated.

    Each shot (K, D) becomes the mean of its unit vectors; ``all_pairs`` is the mean cosine over all pairs of shots,
    ``adjacent`` over neighbours. Raw cosines: unrelated pictures do not give 0 with most encoders. NaN for one shot.

    >>> east, north = np.array([[1.0, 0.0]], np.float32), np.array([[0.0, 1.0]], np.float32)
    >>> between_shots([east, north, east])["adjacent"], round(between_shots([east, north, east])["all_pairs"], 3)
    (0.0, 0.333)
    """
    means = [shot.mean(axis=0) for shot in shots]
    return {
        "all_pairs": _mean([cosine(one, other) for one, other in combinations(means, 2)]),
        "adjacent": _mean([cosine(one, other) for one, other in pairwise(means)]),
    }


def within_shots(shots: Sequence[Vectors]) -> float:
    """Say how alike a shot stays to itself: 1 it does not change.

    As VBench does for a clip: each frame after the first against the one before and against the first, negative cosines
    as 0, the mean of both; then the mean over frames and over shots. Only the four frames of
    :func:`choose_frames` are used, VBench uses all. NaN where no shot has two frames.

    >>> within_shots([np.array([[1.0, 0.0], [0.6, 0.8]], np.float32)])
    0.6...
    """
    scores = []
    for shot in shots:
        beside = [max(0.0, cosine(one, other)) for one, other in pairwise(shot)]
        first = [max(0.0, cosine(shot[0], other)) for other in shot[1:]]
        if beside:
            scores.append((_mean(beside) + _mean(first)) / 2)
    return _mean(scores)


def cosine(one: Vectors, other: Vectors) -> float:
    """Give the cosine of the angle between two vectors; NaN for a vector of length 0.

    >>> cosine(np.array([1.0, 0.0]), np.array([1.0, 1.0]))
    0.707...
    """
    length = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / length if length else math.nan


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else math.nan
