"""Heads in order: which of them follow the cuts most, and whether the same ones do so in other films and steps."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from attnscope import student
from attnscope._types import Floats
from attnscope.errors import InputError
from attnscope.schema import HEAD, LAYER, PROMPT, STEP
from attnscope.structure.comparing import film_names, prompt_groups
from attnscope.structure.maps import branch_of, require_known_dims
from attnscope.structure.named import Statistic, find_statistic

_PLACE = "place"


def rank_heads(
    ds: xr.Dataset, statistic: str = "adjusted_r", *, num: int = 3, branch: str = "cond", level: float = 0.95
) -> xr.Dataset:
    """Put all heads in order, the one that follows the cuts most first, and say how far that order can be trusted.

    The best of hundreds of heads is high by luck too. So heads are also chosen without the film that they are reported
    on: for each prompt (films of one text together) the `num` best heads of all other prompts are taken, and what they
    reach on that prompt's films is `held_out`. Maps are averaged over steps before they are measured.

    Parameters
    ----------
    ds
        An attention dataset with shots attached.
    statistic
        As in `compare`.
    num
        How many heads count as the best.
    branch
        Guidance branch.
    level
        Of the interval of `held_out`, over prompts.

    Returns
    -------
    xarray.Dataset
        Along `place`, best head first, with the coordinates `layer` and `head`: `value`, mean over films (the geometric
        one of ratios); `chosen`, the share of prompts for which it is among the best of the others; `held_out`, its
        mean on those; `in_films` and `in_steps`, the share of films, and of steps, by which alone it is among the
        best. Attributes: `statistic`, `num`, and `held_out` with `held_out_low` and `held_out_high`, of the best heads
        of other prompts together: NaN below two prompts, the interval below three.

    Raises
    ------
    InputError
        No such statistic or branch, or fewer heads than `num`.
    SchemaError, ShotPlanError
        No frame maps, or no shots.

    Examples
    --------
    >>> import attnscope as scope
    >>> ds = scope.synthetic.example(contrast=5.0, noise=0.2)
    >>> ranked = rank_heads(ds, num=2)
    >>> ranked.sizes["place"], bool(ranked["value"].diff("place").max() <= 0)
    (8, True)
    """
    chosen = find_statistic(statistic, "in rank_heads")
    require_known_dims(ds, "rank_heads")
    one = branch_of(ds, branch)
    table, coords, names = _table(chosen, one, over=(STEP,))
    places = table.shape[1]
    if not 1 <= num <= places:
        raise InputError(
            expected=f"a number of heads from 1 to {places}",
            got=f"{num}",
            where="in rank_heads",
            remedy="write 3",
        )
    groups = prompt_groups(names)
    picked = _pick_on_others(table, groups, num)
    values = _mean(table)
    order = np.argsort(-np.where(np.isnan(values), -np.inf, values), kind="stable")
    back = np.exp if chosen.scale == "log" else np.asarray
    held_out, ends = _measure_held_out(table, groups, picked, level)
    found = {
        "value": back(values),
        "chosen": picked.mean(axis=0) if len(picked) else np.full(places, np.nan),
        "held_out": back(_mean(np.where(picked[groups], table, np.nan)))
        if len(picked)
        else np.full(places, np.nan),
        "in_films": _best(table, num).mean(axis=0),
        "in_steps": _share_of_steps(chosen, one, num),
    }
    return xr.Dataset(
        {name: (_PLACE, np.asarray(each)[order]) for name, each in found.items()},
        {name: (_PLACE, each[order]) for name, each in coords.items()},
        {
            "statistic": statistic,
            "num": num,
            "held_out": float(back(held_out)),
            "held_out_low": float(back(ends[0])),
            "held_out_high": float(back(ends[1])),
            "level": level,
        },
    )


def _table(
    statistic: Statistic, ds: xr.Dataset, *, over: tuple[str, ...]
) -> tuple[Floats, dict[str, NDArray[np.int64]], list[tuple[str, int]]]:
    """Measure all heads: a table (films, heads), of ratios as logarithms; what its columns and rows are."""
    values = statistic.measure(ds, over=over)
    for dim in (PROMPT, LAYER, HEAD):
        if dim not in values.dims:
            values = values.expand_dims(dim)
    values = values.transpose(..., PROMPT, LAYER, HEAD)
    layers, heads = (
        np.asarray(values[dim].values if dim in values.coords else np.zeros(1), dtype=np.int64)
        for dim in (LAYER, HEAD)
    )
    coords = {LAYER: np.repeat(layers, len(heads)), HEAD: np.tile(heads, len(layers))}
    numbers = values.values.reshape(*values.shape[:-2], -1).astype(np.float64)
    if statistic.scale == "log":
        with np.errstate(divide="ignore", invalid="ignore"):
            numbers = np.log(numbers)
    return np.where(np.isfinite(numbers), numbers, np.nan), coords, film_names(values)


def _mean(table: Floats) -> Floats:
    """Average over films; NaN where no film has a value."""
    known = ~np.isnan(table)
    with np.errstate(invalid="ignore"):
        mean: Floats = np.where(known, table, 0).sum(axis=0) / np.where(
            known.any(axis=0), known.sum(axis=0), np.nan
        )
    return mean


def _best(table: Floats, num: int) -> NDArray[np.bool_]:
    """Mark the `num` highest of each row; of equal ones the first."""
    order = np.argsort(-np.where(np.isnan(table), -np.inf, table), axis=-1, kind="stable")
    marked = np.zeros(table.shape, dtype=bool)
    np.put_along_axis(marked, order[..., :num], True, axis=-1)
    return marked & ~np.isnan(table)


def _pick_on_others(table: Floats, groups: NDArray[np.intp], num: int) -> NDArray[np.bool_]:
    """Mark for each prompt the heads that are best on all other prompts: (prompts, heads); none for a single one."""
    num_groups = int(groups.max()) + 1
    if num_groups < 2:
        return np.zeros((0, table.shape[1]), dtype=bool)
    means = np.stack([_mean(table[groups != group]) for group in range(num_groups)])
    return _best(means, num)


def _measure_held_out(
    table: Floats, groups: NDArray[np.intp], picked: NDArray[np.bool_], level: float
) -> tuple[float, Floats]:
    """Average each prompt over the heads that were chosen without it; the mean over prompts and its interval."""
    if not len(picked):
        return np.nan, np.full(2, np.nan)
    each = np.stack([_mean(np.where(picked[g], table[groups == g], np.nan)) for g in range(len(picked))])
    by_prompt = _mean(each.T)
    return float(_mean(by_prompt[:, None])[0]), student.student_interval(by_prompt, level=level)


def _share_of_steps(statistic: Statistic, ds: xr.Dataset, num: int) -> Floats:
    """Say by which share of the denoising steps each head is among the best, films averaged."""
    if STEP not in ds.dims:
        return np.full(ds.sizes.get(LAYER, 1) * ds.sizes.get(HEAD, 1), np.nan)
    table, _, _ = _table(statistic, ds, over=())
    by_step = np.stack([_mean(step) for step in table.reshape(-1, *table.shape[-2:])])
    marked = _best(by_step, num)
    recorded = ~np.isnan(by_step).all(axis=-1)
    share: Floats = marked[recorded].mean(axis=0)
    return share
