"""What the shots explain of a frame map once each frame's appetite and popularity and the distance are taken out.

The model of one map is log m[q, k] = row q + column k + lag |q - k| + beta * (q and k share a shot) + rest, over the
pairs of different frames. Softmax makes the row effect exact: it is the log of what a row is divided by. The column is
how popular a key frame is with all queries alike. beta and the partial correlation come from one projection, which all
maps with the same pairs share.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from attnscope._types import Bools, Floats
from attnscope.structure.arrays.pair_means import Ints, Mass, first_frame_sink, same_shot, select_pairs

PULL_LEVEL = 1.5
"""Key frame 0 is left out of a map where it gets more than this many times what the distance explains."""

# Stored masses are float32: what is left of a log below this, root mean square, is rounding.
_ROUNDING = 1e-6
# Below this share of its own variation the same-shot indicator is a sum of row, column and lag effects.
_EXPLAINED = 1e-9


class Fit(NamedTuple):
    """beta and its partial correlation for each plan `(..., S)`, and how many pairs of a map had no mass `(...)`."""

    log_contrast: Floats
    r: Floats
    num_zero: Ints


@lru_cache(maxsize=32)
def effects(num_frames: int, first_key_frame: bool, signed_lag: bool) -> tuple[Bools, Floats]:
    """Give the pairs that take part `(F, F)`, and one column for each effect of a row, a column or a lag `(N, C)`."""
    pairs = select_pairs(num_frames, diagonal=False, first_key_frame=first_key_frame)
    query, key = np.nonzero(pairs)
    lag = query - key if signed_lag else np.abs(query - key)
    indicators = [values[:, None] == np.unique(values) for values in (query, key, lag)]
    return pairs, np.concatenate(indicators, axis=1).astype(np.float64)


def orthonormal(columns: Floats) -> Floats:
    """Span the same space with orthonormal columns: `(N, C)` -> `(N, rank)`."""
    if columns.size == 0:
        return columns[:, :0]
    left, size, _ = np.linalg.svd(columns, full_matrices=False)
    return np.asarray(left[:, size > 1e-10 * size[0]])


@lru_cache(maxsize=32)
def _basis(num_frames: int, first_key_frame: bool, signed_lag: bool) -> Floats:
    return orthonormal(effects(num_frames, first_key_frame, signed_lag)[1])


def without(values: Floats, basis: Floats) -> Floats:
    """Take out what the basis explains: `(..., N)` with `(N, rank)`."""
    return np.asarray(values - (values @ basis) @ basis.T)


def first_frame_pulls(mass: Mass) -> Bools:
    """Say of each map whether key frame 0 gets more than `PULL_LEVEL` times what the distance explains: `(...)`.

    It knows nothing of shots, so that leaving frame 0 out by it favours no plan.
    """
    no_shots = np.zeros(mass.shape[-1], dtype=np.intp)
    return np.asarray(first_frame_sink(mass, no_shots, other_shots_only=False) > PULL_LEVEL)


def fit_plans(
    mass: Mass, plans: Ints, *, first_key_frame: bool | None = None, signed_lag: bool = False
) -> Fit:
    """Fit every map against every plan: `(..., F, F)` and `(S, F)` -> `(..., S)`.

    A pair without mass has no logarithm and leaves the fit of its map; if no pair across a cut has any, the contrast
    is infinite. NaN where nothing can be said: one shot or none known, a map that was not recorded, shots that rows,
    columns and lags explain wholly (a single frame before the cut). The r of a map without a rest is NaN too.
    `first_key_frame=None` leaves key frame 0 out of the maps that `first_frame_pulls` names.
    """
    lead, num_frames = mass.shape[:-2], mass.shape[-1]
    maps = mass.reshape(-1, num_frames, num_frames)
    found = Fit(
        np.full((len(maps), len(plans)), np.nan),
        np.full((len(maps), len(plans)), np.nan),
        np.zeros(len(maps), dtype=np.intp),
    )
    kept = np.full(len(maps), bool(first_key_frame))
    if first_key_frame is None:
        kept = ~first_frame_pulls(maps)
    for first in np.unique(kept):
        _fit_maps(found, np.flatnonzero(kept == first), maps, plans, bool(first), signed_lag)
    return Fit(*(each.reshape((*lead, *each.shape[1:])) for each in found))


def _fit_maps(
    found: Fit, which: Ints, maps: Mass, plans: Ints, first_key_frame: bool, signed_lag: bool
) -> None:
    """Fit the maps `which`, grouped by the pairs that have mass, and write what comes out into `found`."""
    num_frames = maps.shape[-1]
    pairs, columns = effects(num_frames, first_key_frame, signed_lag)
    values = maps[which][:, pairs].astype(np.float64)
    recorded = np.isfinite(values).all(axis=1)
    which, values = which[recorded], values[recorded]
    same = same_shot(plans)[:, pairs]
    known = (plans >= 0).all(axis=1) & ~same.all(axis=1)
    empty = values <= 0
    found.num_zero[which] = empty.sum(axis=1)
    patterns, group = np.unique(empty, axis=0, return_inverse=True)
    for index, pattern in enumerate(patterns):
        alike, there = group.reshape(-1) == index, ~pattern
        basis = (
            orthonormal(columns[there]) if pattern.any() else _basis(num_frames, first_key_frame, signed_lag)
        )
        beta, r = _project(np.log(values[alike][:, there]), same[:, there], basis)
        none_across = same[:, there].all(axis=1) & there.any()
        found.log_contrast[which[alike]] = np.where(known, np.where(none_across, np.inf, beta), np.nan)
        found.r[which[alike]] = np.where(known, r, np.nan)


def _project(logs: Floats, same: Bools, basis: Floats) -> tuple[Floats, Floats]:
    """Regress maps `(M, N)` on plans `(S, N)` beside what the basis spans: beta and partial r, each `(M, S)`."""
    shared = same.astype(np.float64)
    rest, direction = without(logs, basis), without(shared, basis)
    size = (direction**2).sum(axis=1)
    size[size <= _EXPLAINED * max(shared.shape[1], 1)] = np.nan
    product = rest @ direction.T
    spread = np.sqrt((rest**2).sum(axis=1))
    spread[spread <= _ROUNDING * np.sqrt(max(logs.shape[1], 1))] = np.nan
    return product / size, product / (np.sqrt(size) * spread[:, None])


def find_measurable(plans: Ints) -> Bools:
    """Say of plans `(S, F)` whether rows, columns and lags leave something of them, with frame 0 and without: `(S,)`.

    A single frame before the cut is a row and a column, and no map can tell it from one.
    """
    found = ((plans >= 0).all(axis=1)) & (plans.max(axis=1, initial=0) > 0)
    for first in (True, False):
        pairs, _ = effects(plans.shape[-1], first, False)
        direction = without(
            same_shot(plans)[:, pairs].astype(np.float64), _basis(plans.shape[-1], first, False)
        )
        found &= (direction**2).sum(axis=1) > _EXPLAINED * max(direction.shape[1], 1)
    return np.asarray(found)


def fit(mass: Mass, shot: Ints, *, first_key_frame: bool | None = None, signed_lag: bool = False) -> Fit:
    """Fit every map against its own plan: `(..., F, F)` and `(..., F)`, leading dims broadcast -> each `(...)`."""
    lead = np.broadcast_shapes(mass.shape[:-2], shot.shape[:-1])
    maps = np.broadcast_to(mass, (*lead, *mass.shape[-2:]))
    plans, which = np.unique(shot.reshape(-1, shot.shape[-1]), axis=0, return_inverse=True)
    which = np.broadcast_to(which.reshape(shot.shape[:-1]), lead)
    found = Fit(np.full(lead, np.nan), np.full(lead, np.nan), np.zeros(lead, dtype=np.intp))
    for index, plan in enumerate(plans):
        here = which == index
        one = fit_plans(maps[here], plan[None, :], first_key_frame=first_key_frame, signed_lag=signed_lag)
        found.log_contrast[here], found.r[here] = one.log_contrast[..., 0], one.r[..., 0]
        found.num_zero[here] = one.num_zero
    return found
