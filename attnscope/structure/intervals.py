"""How sure a mean over prompts is, and how a statistic runs through the layers."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.special import ndtri

from attnscope.errors import InputError
from attnscope.schema import LAYER, PROMPT
from attnscope.structure.arrays import resampling

Floats = npt.NDArray[np.float64]


def bootstrap(
    values: xr.DataArray,
    dim: str = PROMPT,
    *,
    level: float = 0.95,
    num_draws: int = 2000,
    seed: int = 0,
) -> tuple[xr.DataArray, xr.DataArray]:
    """Give the range in which the mean over videos would likely fall if other videos had been drawn: (low, high).

    Percentile bootstrap of the mean along `dim`: the videos are drawn again with replacement `num_draws` times (the
    same draws for every layer, step and head, so curves move together); NaN values are left out. Both results are NaN
    where fewer than two values exist, as nothing is known then about the spread. With fewer than about 15 videos the
    range is too narrow. Dims: those of `values` without `dim`.

    Raises: InputError (dim, level).

    >>> low, high = bootstrap(xr.DataArray([1.0, 2.0, 3.0, 4.0], dims="prompt"))
    >>> bool(1 < low < 2.5 < high < 4)
    True
    """
    if dim not in values.dims:
        raise InputError(
            expected="a dim of the values to resample",
            got=f"{dim!r}",
            where=f"where there are {', '.join(map(str, values.dims)) or 'none'}",
            remedy="name one of those",
        )
    if not 0 < level < 1:
        raise InputError(
            expected="a level between 0 and 1",
            got=f"{level}",
            where="in bootstrap",
            remedy="0.95 is usual",
        )
    ends: xr.DataArray = xr.apply_ufunc(
        partial(resampling.percentile_interval, level=level, num_draws=num_draws, seed=seed),
        values.astype(np.float64),
        input_core_dims=[[dim]],
        output_core_dims=[["end"]],
    )
    return ends.isel(end=0), ends.isel(end=1)


def wilson(
    num_hits: npt.ArrayLike, num_tries: npt.ArrayLike, *, level: float = 0.95
) -> tuple[Floats, Floats]:
    """Give the range in which a share would likely lie if counted without end: (low, high).

    Wilson's score interval for ``num_hits`` out of ``num_tries``; it holds for shares of 0 and 1 and for few tries,
    where the usual one collapses. NaN where nothing was tried. Tries are taken as independent.

    Source: Wilson, JASA 22 (1927), 209-212.

    Raises: InputError (more hits than tries, level).

    >>> low, high = wilson([10, 0], [10, 0])
    >>> low.round(3).tolist(), high.round(3).tolist()
    ([0.722, nan], [1.0, nan])
    """
    hits, tries = np.asarray(num_hits, dtype=np.float64), np.asarray(num_tries, dtype=np.float64)
    if not 0 < level < 1 or bool((hits < 0).any()) or bool((hits > tries).any()):
        raise InputError(
            expected="hits from 0 to the number of tries and a level between 0 and 1",
            got=f"{num_hits!r} of {num_tries!r} at {level}",
            where="in wilson",
            remedy="0.95 is usual",
        )
    quantile = float(ndtri((1 + level) / 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        share, spread = hits / tries, quantile**2 / tries
        centre = (share + spread / 2) / (1 + spread)
        reach = quantile * np.sqrt(share * (1 - share) / tries + spread / (4 * tries)) / (1 + spread)
    # exactly 0 and 1 at the ends, where rounding would leave them a little inside
    return np.where(share == 0, 0.0, centre - reach), np.where(share == 1, 1.0, centre + reach)


def profile(
    values: xr.DataArray, along: str = LAYER, *, level: float = 0.95, num_draws: int = 2000, seed: int = 0
) -> xr.Dataset:
    """Follow a statistic through the layers: its mean over everything else, and how sure that mean is.

    `values` is any statistic with the dim `along`. First the mean over all dims but `along` and `prompt`, then
    `mean`, `low` and `high` (see `bootstrap`) and `num` (videos with a value) over prompts, each on dim `along`.
    For the paper's reading average the maps first: `profile(contrast(mean_map(ds)))`. NaN is left out of means.

    >>> values = xr.DataArray([[1.0, 10.0], [3.0, 30.0]], dims=("prompt", "layer"), coords={"layer": [1, 2]})
    >>> profile(values)["mean"].values
    array([ 2., 20.])
    """
    if along not in values.dims:
        raise InputError(
            expected=f"values with the dim {along!r}",
            got=f"dims {', '.join(map(str, values.dims)) or 'none'}",
            where="in profile",
            remedy="pass a statistic that was not averaged over it",
        )
    others = [name for name in values.dims if name not in (along, PROMPT)]
    per_prompt = values.mean(others, skipna=True)
    if PROMPT not in per_prompt.dims:
        per_prompt = per_prompt.expand_dims(PROMPT)
    low, high = bootstrap(per_prompt, level=level, num_draws=num_draws, seed=seed)
    return xr.Dataset(
        {
            "mean": per_prompt.mean(PROMPT, skipna=True),
            "low": low,
            "high": high,
            "num": per_prompt.notnull().sum(PROMPT),
        },
        attrs={"level": level, "statistic": str(values.name or "")},
    )
