"""Films whose attention is known: plans of several kinds, local maps with a contrast, a noise and a pull of frame 0."""

from __future__ import annotations

from functools import cache
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

LOCALITY = 0.3
"""Decay of attention for each latent frame of distance."""

NOISE = 0.3
"""Standard deviation of the natural logarithm of each weight."""


class Kind(NamedTuple):
    """How plans are drawn: so many shots, none shorter than the floor; or equal ones, and then there is one plan."""

    num_shots: int
    floor: int = 1
    equal: bool = False


KINDS = {
    "2 shots, anywhere": Kind(2),
    "2 shots, none under 2": Kind(2, 2),
    "2 shots, none under 3": Kind(2, 3),
    "3 shots, anywhere": Kind(3),
    "3 shots, none under 2": Kind(3, 2),
    "3 shots, none under 3": Kind(3, 3),
    "2 equal shots": Kind(2, equal=True),
    "3 equal shots": Kind(3, equal=True),
    "4 equal shots": Kind(4, equal=True),
}

REAL_KINDS = {
    name: KINDS[name] for name in ("2 shots, none under 2", "3 shots, none under 2", "2 equal shots")
} | {"2 shots, cut in the middle third": Kind(2, 5)}
"""Imaginary cuts of the films of one shot that the embedded models look at, 13 latent frames."""

SINKS = {"none": (0.0, 1.0), "added .2": (0.2, 1.0), "times 4": (0.0, 4.0)}
"""The share of each row that is moved to frame 0, and by how much its column is multiplied."""


@cache
def plans_of(kind: Kind, num_frames: int) -> Ints:
    """All plans of a kind, in order: `(plans, F)` shot indices; none where the film is too short."""
    if kind.equal:
        parts = np.array_split(np.arange(num_frames), kind.num_shots)
        return np.repeat(np.arange(kind.num_shots), [len(part) for part in parts])[None, :]
    plans = []
    for cuts in combinations(range(1, num_frames), kind.num_shots - 1):
        if np.diff([0, *cuts, num_frames]).min() >= kind.floor:
            plans.append((np.arange(num_frames)[:, None] >= np.array(cuts)).sum(axis=1))
    return np.unique(np.array(plans, dtype=np.intp).reshape(-1, num_frames), axis=0)


def draw_maps(generator: np.random.Generator, shot: Ints, *, contrast: float, sink: str) -> Floats:
    """Frame maps for plans `(..., F)`: `(..., F, F)`, rows that sum to 1."""
    added, times = SINKS[sink]
    frame = np.arange(shot.shape[-1])
    same = shot[..., :, None] == shot[..., None, :]
    logs = np.where(same, np.log(contrast), 0.0) - LOCALITY * np.abs(frame[:, None] - frame)
    weight = np.exp(logs + NOISE * generator.standard_normal(same.shape))
    weight[..., 0] *= times
    mass = weight / weight.sum(axis=-1, keepdims=True) * (1 - added)
    mass[..., 0] += added
    return np.asarray(mass)
