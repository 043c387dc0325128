"""Whether attention knows where the cuts are: a p that holds whatever the maps look like, or none and the reason."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from attnscope._types import Floats
from attnscope.errors import InputError
from attnscope.schema import KEY_FRAME, MASS, PROMPT, QUERY_FRAME
from attnscope.structure.arrays import adjustment, rearranging
from attnscope.structure.arrays.pair_means import Ints, Mass
from attnscope.structure.maps import AVERAGED, film_shots_of, frame_mass_of, mean_map


def cut_test(
    ds: xr.Dataset, *, over: Sequence[str] = AVERAGED, num_draws: int = 9999, seed: int = 0
) -> xr.Dataset:
    """Ask whether other cuts would fit attention as well: one p for all films together, or the reason for none.

    The statistic is the mean `adjusted_r` over films. Under the null, maps know nothing of where their film is cut.

    **Exchanged.** Where films have different cuts, every film is given the cuts of another film with as many shots, in
    every way if there are at most `num_draws`, else in so many by lot. p is the share of these arrangements, the true
    one included, that do as well; a few are left out by lot where their number is no multiple of 20, so that p <= .05
    comes in exactly one of twenty. It is exact whatever maps look like: what films have in common at the start, in the
    middle, at a distance, does as well for anybody's cuts.

    **Moved.** A single film, films that all have the same cuts, and two or three films: the cuts of each plan move,
    in all films that have it together, to every plan with as many shots whose shortest shot is as short. p is exact
    if plans were drawn by lot, and all such plans are equally likely; cuts that somebody chose are not drawn.

    Where that leaves fewer than 20 arrangements there is no p: it could not be .05. That is so for one cut in one film,
    and for equal shots, which have only other equal shots to be compared with.

    Parameters
    ----------
    over
        Maps are averaged along these dims first.
    num_draws
        The most arrangements to try; p is never below 1 / (num_draws + 1).
    seed
        Of the draws.

    Returns
    -------
    xarray.Dataset
        `p`, the films' own mean `adjusted_r`, and `null_mean`, what it is on average for other arrangements; dims of
        `ds` without the frames, `over` and prompt. Attributes: `null` ("exchanged", "moved" or "none"),
        `num_arrangements` (all there are), `smallest_p`, `reason` (empty where there is a p), `num_films`
        with cuts that can be measured and `num_films_needed`.

    Raises
    ------
    InputError
        num_draws below 99, or shots that differ along another dim than prompt.

    Examples
    --------
    >>> from attnscope import schema, synthetic
    >>> from attnscope.shots import ShotPlan
    >>> plans = [ShotPlan.from_latent_frames([c], num_frames_latent=9, fps=16).to_latent() for c in (2, 3, 4, 5, 6, 7)]
    >>> films = [synthetic.block_attention(plan, contrast=2, noise=0.1, seed=i) for i, plan in enumerate(plans)]
    >>> bare = [film.drop_vars(["query_shot", "key_shot"]).assign_coords(prompt=[i]) for i, film in enumerate(films)]
    >>> found = cut_test(schema.with_shots(xr.concat(bare, "prompt"), plans))
    >>> bool((found.p < 0.01).all()), found.attrs["null"], found.attrs["num_arrangements"]
    (True, 'exchanged', 720)
    >>> one = cut_test(films[0])
    >>> one.attrs["reason"]
    'one film: only 2 plans are as likely as its cuts; 4 films with different cuts are needed'
    """
    if num_draws < 99:
        raise InputError(
            expected="at least 99 draws",
            got=f"{num_draws}",
            where="as num_draws of cut_test",
            remedy="9999 is usual",
        )
    maps = mean_map(ds, over)
    if PROMPT not in maps[MASS].dims:
        maps = maps.expand_dims(PROMPT)
    mass, shot = frame_mass_of(maps), film_shots_of(maps, "cut_test")
    values = mass.transpose(..., PROMPT, QUERY_FRAME, KEY_FRAME)
    films = _find_measurable(values.values, shot.values)
    plans = shot.values[films]
    null = rearranging.choose_null(plans)
    own, p, null_mean = _test(values.values[..., films, :, :], plans, null.kind, num_draws, seed)
    dims, kept = values.dims[:-3], values.isel({PROMPT: 0, QUERY_FRAME: 0, KEY_FRAME: 0}, drop=True)
    found = {"p": p, "adjusted_r": own, "null_mean": null_mean}
    return xr.Dataset(
        {name: (dims, value) for name, value in found.items()},
        {name: coord for name, coord in kept.coords.items() if set(coord.dims) <= set(dims)},
        {
            "null": null.kind,
            "num_arrangements": null.num_arrangements,
            "smallest_p": 1 / rearranging.num_tried(null.num_arrangements, num_draws),
            "reason": null.reason,
            "num_films": len(plans),
            "num_films_needed": rearranging.FEWEST_FILMS,
        },
    )


def _find_measurable(mass: Mass, shot: Ints) -> Ints:
    """Find the films whose cuts can be told from rows, columns and lags, in at least one map."""
    r = adjustment.fit(mass, shot).r
    return np.flatnonzero(
        np.isfinite(r).reshape(-1, len(shot)).any(axis=0) & adjustment.find_measurable(shot)
    )


def _test(mass: Mass, plans: Ints, kind: str, num_draws: int, seed: int) -> tuple[Floats, Floats, Floats]:
    """Give the mean adjusted r, p and the mean under the null of maps `(..., P, F, F)`: each `(...)`."""
    lead = mass.shape[:-3]
    if len(plans) == 0:
        return np.full(lead, np.nan), np.full(lead, np.nan), np.full(lead, np.nan)
    own = adjustment.fit(mass, plans).r
    recorded = np.isfinite(own).any(axis=-1)
    with np.errstate(invalid="ignore"):
        mean = np.nansum(own, axis=-1) / np.where(recorded, np.isfinite(own).sum(axis=-1), np.nan)
    different, which = np.unique(plans, axis=0, return_inverse=True)
    which = which.reshape(-1)
    if kind == "exchanged":
        matrix = np.nan_to_num(adjustment.fit_plans(mass, different).r)
        p, null_mean = rearranging.exchange_p(matrix, rearranging.exchanges(plans, num_draws, seed))
    elif kind == "moved":
        tables = [
            np.nan_to_num(
                adjustment.fit_plans(mass[..., which == index, :, :], rearranging.moves(plan, seed)).r
            ).sum(axis=-2)
            for index, plan in enumerate(different)
        ]
        p, null_mean = rearranging.move_p(tables, num_draws=num_draws, seed=seed)
        null_mean = null_mean / len(plans)
    else:
        p = null_mean = np.full(lead, np.nan)
    return mean, np.where(recorded, p, np.nan), np.where(recorded, null_mean, np.nan)
