"""Pearson correlation with the same-shot indicator, and what it is when the boundaries are moved round.

The null moves the *cuts*, not the labels. A cut sits at one of the F-1 places 1..F-1 between two frames; all cuts move
by s places together, and one that leaves at the end comes back at place 1. So every moved plan has as many cuts as the
true one and no empty shot, and with a single cut every possible place is visited once. Rolling the labels instead
would either glue the first and the last frames of the video into one shot (a pair that is far apart yet "inside",
which no real plan has, and which makes local attention look significant) or add a cut at the seam.
The shifts form a group of size F-1, so the p-value is exact for cuts placed at random: P(p <= a) <= a.
"""

from __future__ import annotations

import numpy as np

from attnscope.structure.arrays.pair_means import (
    Bools,
    Floats,
    Ints,
    Mass,
    admitted,
    distance,
    is_known,
    same_shot,
)

# Below this relative spread a map is flat to rounding, and a correlation with it is noise: NaN.
_FLAT = 1e-10


def shifts_to_try(num_frames: int, num_shifts: int | None) -> Ints:
    """Choose the shifts: all of 1..F-2, or `num_shifts` of them evenly spread (0 is the plan itself)."""
    every = np.arange(1, max(num_frames - 1, 1))
    if num_shifts is None or num_shifts >= len(every):
        return every
    chosen: Ints = every[np.linspace(0, len(every) - 1, num_shifts).round().astype(np.intp)]
    return chosen


def shifted_shots(shot: Ints, shifts: Ints) -> Ints:
    """Move all cuts by each of the shifts, round the video: `(..., F)` -> `(..., S, F)` shot indices."""
    cut = shot[..., 1:] != shot[..., :-1]
    num_places = cut.shape[-1]
    place = (np.arange(num_places)[None, :] - shifts[:, None]) % max(num_places, 1)
    later = np.cumsum(cut[..., place], axis=-1)
    return np.concatenate([np.zeros((*later.shape[:-1], 1), dtype=later.dtype), later], axis=-1)


def _centred(values: Floats, group: Ints) -> Floats:
    """Subtract from each value the mean of its group: `(..., N)` with group numbers `(N,)`."""
    member = (group[:, None] == np.unique(group)[None, :]).astype(np.float64)
    mean = values @ (member / member.sum(axis=0))
    return np.asarray(values - mean @ member.T)


def _spread(centred: Floats, values: Floats) -> Floats:
    """Give the root of the sum of squares, NaN where it is only rounding."""
    spread = np.sqrt((centred**2).sum(axis=-1))
    return np.where(spread > _FLAT * np.sqrt((values**2).sum(axis=-1)), spread, np.nan)


def indicator_correlation(mass: Mass, shots: Ints, *, diagonal: bool, distance_removed: bool) -> Floats:
    """Correlate the map with the same-shot indicator of S plans: `(..., F, F)`, `(..., S, F)` -> `(..., S)`."""
    num_frames = mass.shape[-1]
    pairs = admitted(num_frames, diagonal=diagonal, first_key_frame=True)
    lag = distance(num_frames)[pairs]
    group = lag if distance_removed else np.zeros_like(lag)
    x = mass[..., pairs].astype(np.float64)
    y = same_shot(shots)[..., pairs].astype(np.float64)
    x_centred, y_centred = _centred(x, group), _centred(y, group)
    product = (y_centred @ x_centred[..., :, None])[..., 0]
    return np.asarray(product / (_spread(x_centred, x)[..., None] * _spread(y_centred, y)))


def correlation(
    mass: Mass, shot: Ints, shifts: Ints, *, diagonal: bool = False, distance_removed: bool = False
) -> tuple[Floats, Floats, Floats]:
    """Give r `(...)`, its one-sided p `(...)` and the r of every moved plan `(..., S)`."""
    plans = shifted_shots(shot, np.concatenate([[0], shifts]))
    every = indicator_correlation(mass, plans, diagonal=diagonal, distance_removed=distance_removed)
    known: Bools = is_known(shot)
    every = np.where(known[..., None], every, np.nan)
    r, null = every[..., 0], every[..., 1:]
    return r, shift_p(r, null), null


def shift_p(r: Floats, null: Floats) -> Floats:
    """Give the share of plans, the true one included, that correlate at least as well: `(...)`, NaN where r is.

    A tie counts against the true plan, and so does a moved plan without a correlation.
    """
    as_good = ~(null < r[..., None] - 1e-12)
    p = (1 + as_good.sum(axis=-1)) / (1 + null.shape[-1])
    return np.where(np.isnan(r), np.nan, p)


def combined_p(r: Floats, null: Floats, *, num_draws: int, seed: int) -> float:
    """Test the mean of r `(P,)` over videos when the cuts of each are moved on their own; null is `(P, S)`."""
    usable = ~np.isnan(r)
    r, null = r[usable], null[usable]
    if r.size == 0:
        return float("nan")
    if r.size == 1:
        return float(shift_p(r, null)[0])
    every = np.where(np.isnan(null), np.inf, null)
    every = np.concatenate([r[:, None], every], axis=1)
    generator = np.random.default_rng(seed)
    draw = generator.integers(every.shape[1], size=(num_draws, r.size))
    means = every[np.arange(r.size), draw].mean(axis=1)
    return float((1 + (means >= r.mean() - 1e-12).sum()) / (1 + num_draws))
