"""The same two frames, once in films where they share a shot and once in films where a cut lies between.

log m of film f at (q, k) = row + column of the film + place (q, k), the same in all films + beta * same shot + rest.
The place takes out every locality that films have in common, of whatever form. Each film's rows and columns are
projected out, then the mean over films is subtracted: the two projections commute, so this is least squares.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attnscope._types import Floats
from attnscope.structure.arrays.adjustment import first_frame_pulls, orthonormal, without
from attnscope.structure.arrays.pair_means import Ints, Mass, same_shot, select_pairs
from attnscope.student import reach


def place_matched(mass: Mass, shot: Ints, *, first_key_frame: bool = True) -> tuple[Floats, Floats]:
    """Fit films together: `(..., P, F, F)` and `(P, F)` -> beta `(...)`, and it without each film `(..., P)`.

    Films with a pair without mass, with a map that was not recorded, or without a plan are left out (NaN in the
    second result); NaN, and infinite without a film, where fewer than two films or no two different plans are left.
    """
    pairs = select_pairs(mass.shape[-1], diagonal=False, first_key_frame=first_key_frame)
    query, key = np.nonzero(pairs)
    columns = [values[:, None] == np.arange(mass.shape[-1]) for values in (query, key)]
    basis = orthonormal(np.concatenate(columns, axis=1).astype(np.float64))
    values = mass[..., pairs].astype(np.float64)
    with np.errstate(invalid="ignore"):
        usable = np.asarray((values > 0).all(axis=-1) & (shot >= 0).all(axis=-1))
    rest = without(np.log(np.where(usable[..., None], values, 1.0)), basis) * usable[..., None]
    direction = without(same_shot(shot)[..., pairs].astype(np.float64), basis) * usable[..., None]
    num = usable.sum(axis=-1)
    of_films = [np.einsum("...pn,...pn->...", each, direction) for each in (rest, direction)]
    of_sums = [np.einsum("...n,...n->...", each.sum(-2), direction.sum(-2)) for each in (rest, direction)]
    beta = _slope(of_films, of_sums, num)
    of_others = [_others(each, direction) for each in (rest, direction)]
    of_their_sums = [_others_of_sums(each, direction) for each in (rest, direction)]
    without_film = _slope(of_others, of_their_sums, num[..., None] - 1)
    # a film without which no two different plans are left: nothing is known of the spread
    without_film = np.where(np.isnan(without_film), np.inf, without_film)
    return beta, np.where(usable, without_film, np.nan)


def _others(values: Floats, direction: Floats) -> Floats:
    """Sum the products of all films but one: `(..., P, N)` twice -> `(..., P)`."""
    each = np.einsum("...pn,...pn->...p", values, direction)
    return np.asarray(each.sum(axis=-1, keepdims=True) - each)


def _others_of_sums(values: Floats, direction: Floats) -> Floats:
    """Multiply the sums over all films but one: `(..., P, N)` twice -> `(..., P)`."""
    rest, others = (
        values.sum(axis=-2, keepdims=True) - values,
        direction.sum(axis=-2, keepdims=True) - direction,
    )
    return np.asarray(np.einsum("...pn,...pn->...p", rest, others))


def _slope(of_films: Sequence[Floats], of_sums: Sequence[Floats], num: Ints) -> Floats:
    """Least squares over `num` films after their mean is subtracted.

    From sums over films of (rest . direction, direction . direction), and from these products of their sums.
    """
    above, below = (each - sums / np.maximum(num, 1) for each, sums in zip(of_films, of_sums, strict=True))
    below = np.where(below > 1e-9 * np.maximum(of_films[1], 1.0), below, np.nan)
    return np.asarray(above / below)


def jackknife(beta: Floats, without_film: Floats) -> tuple[Floats, Ints]:
    """Give the standard error of beta from leaving out one film at a time, and how many films there are: `(...)`."""
    num = np.asarray((~np.isnan(without_film)).sum(axis=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        pseudo = num[..., None] * beta[..., None] - (num[..., None] - 1) * without_film
        total = np.nansum(pseudo, axis=-1)
        centre = np.where(num > 0, total / num, np.nan)
        spread = np.nansum((pseudo - centre[..., None]) ** 2, axis=-1)
        error = np.sqrt(spread / (num * (num - 1)))
    return np.where((num >= 2) & np.isfinite(error), error, np.nan), num


def measure_films(
    mass: Mass, shot: Ints, *, first_key_frame: bool | None = None, level: float = 0.95
) -> tuple[Floats, Floats, Floats, Floats]:
    """Give contrast, low, high and the number of films of `(..., P, F, F)` and `(..., P, F)`: each `(...)`.

    `first_key_frame=None` leaves key frame 0 out where it pulls in the mean map of the films.
    """
    kept = np.full(mass.shape[:-3], bool(first_key_frame))
    if first_key_frame is None:
        recorded = np.isfinite(mass).all(axis=(-1, -2), keepdims=True)
        num = np.maximum(recorded.sum(axis=-3), 1)
        kept = ~first_frame_pulls(np.where(recorded, mass, 0.0).sum(axis=-3) / num)
    beta, without_film = np.full(mass.shape[:-3], np.nan), np.full(mass.shape[:-2], np.nan)
    plans = np.broadcast_to(shot, mass.shape[:-1])
    for first in np.unique(kept):
        here = kept == first
        beta[here], without_film[here] = place_matched(mass[here], plans[here], first_key_frame=bool(first))
    error, num_films = jackknife(beta, without_film)
    width = reach(num_films, level) * error
    return np.exp(beta), np.exp(beta - width), np.exp(beta + width), num_films.astype(np.float64)
