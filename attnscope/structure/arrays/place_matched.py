"""The same two frames, once in films where they share a shot and once in films where a cut lies between.

log m of film f at (q, k) = row + column of the film + place (q, k), the same in all films + beta * same shot + rest.
The place takes out every locality that films have in common, of whatever form. Each film's rows and columns are
projected out, then the mean over films is subtracted: the two projections commute, so this is least squares.
"""

from __future__ import annotations

import numpy as np

from attnscope._types import Floats
from attnscope.structure.arrays.adjustment import orthonormal, without
from attnscope.structure.arrays.pair_means import Ints, Mass, admitted, same_shot


def place_matched(mass: Mass, shot: Ints, *, first_key_frame: bool = True) -> tuple[Floats, Floats]:
    """Fit films together: `(..., P, F, F)` and `(P, F)` -> beta `(...)`, and it without each film `(..., P)`.

    Films with a pair without mass, with a map that was not recorded, or without a plan are left out (NaN in the
    second result); NaN where fewer than two films or no two different plans are left.
    """
    pairs = admitted(mass.shape[-1], diagonal=False, first_key_frame=first_key_frame)
    query, key = np.nonzero(pairs)
    columns = [values[:, None] == np.arange(mass.shape[-1]) for values in (query, key)]
    basis = orthonormal(np.concatenate(columns, axis=1).astype(np.float64))
    values = mass[..., pairs].astype(np.float64)
    with np.errstate(invalid="ignore"):
        usable = np.asarray((values > 0).all(axis=-1) & (shot >= 0).all(axis=-1))
    rest = without(np.log(np.where(usable[..., None], values, 1.0)), basis)
    direction = without(same_shot(shot)[..., pairs].astype(np.float64), basis) * usable[..., None]
    beta = _slope(rest, direction, usable.astype(np.float64))
    without_film = np.stack(
        [
            _slope(rest, direction, usable * (np.arange(usable.shape[-1]) != film))
            for film in range(usable.shape[-1])
        ],
        axis=-1,
    )
    return beta, np.where(usable, without_film, np.nan)


def _slope(rest: Floats, direction: Floats, weight: Floats) -> Floats:
    """Least squares over films of weight 1, after the mean over these films: `(..., P, N)` twice -> `(...)`."""
    num = np.maximum(weight.sum(axis=-1), 1)
    each = weight[..., None]
    mean_rest = (rest * each).sum(axis=-2) / num[..., None]
    mean_direction = (direction * each).sum(axis=-2) / num[..., None]
    above = np.einsum("...pn,...pn,...p->...", rest, direction, weight) - num * (
        mean_rest * mean_direction
    ).sum(-1)
    below = np.einsum("...pn,...pn,...p->...", direction, direction, weight) - num * (mean_direction**2).sum(
        -1
    )
    below = np.where(below > 1e-9 * direction.shape[-1], below, np.nan)
    return np.asarray(above / below)


def jackknife(beta: Floats, without_film: Floats) -> tuple[Floats, Ints]:
    """Give the standard error of beta from leaving out one film at a time, and how many films there are: `(...)`."""
    num = np.asarray((~np.isnan(without_film)).sum(axis=-1))
    pseudo = num[..., None] * beta[..., None] - (num[..., None] - 1) * without_film
    with np.errstate(invalid="ignore", divide="ignore"):
        total = np.nansum(pseudo, axis=-1)
        centre = np.where(num > 0, total / num, np.nan)
        spread = np.nansum((pseudo - centre[..., None]) ** 2, axis=-1)
        error = np.sqrt(spread / (num * (num - 1)))
    return np.where(num >= 2, error, np.nan), num
