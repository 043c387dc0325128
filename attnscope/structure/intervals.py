"""How sure a mean over prompts is, and how a statistic runs through the layers."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.special import ndtri

from attnscope import student
from attnscope._types import Floats
from attnscope.errors import InputError
from attnscope.schema import LAYER, PROMPT

Scale = Literal["linear", "log"]


def mean_over(values: xr.DataArray, dim: str = PROMPT, *, scale: Scale = "linear") -> xr.DataArray:
    """Average over videos; ratios, such as every contrast, as their logarithms.

    NaN is left out. With `scale="log"` it is the geometric mean: a contrast of 2 and one of 1/2 make 1.

    Raises
    ------
    InputError
        There is no such dim or scale.

    Examples
    --------
    >>> float(mean_over(xr.DataArray([0.5, 2.0], dims="prompt"), scale="log"))
    1.0
    """
    _require_dim(values, dim)
    with np.errstate(divide="ignore"):
        mean = _to_scale(values, scale).mean(dim, skipna=True)
    return _from_scale(mean, scale)


def interval(
    values: xr.DataArray, dim: str = PROMPT, *, level: float = 0.95, scale: Scale = "linear"
) -> tuple[xr.DataArray, xr.DataArray]:
    """Give the range in which the mean over videos would likely fall if other videos had been drawn: (low, high).

    Student's t interval of the mean along `dim`, one degree of freedom fewer below five videos; NaN values are left
    out. `scale="log"` is for ratios and belongs to their geometric mean (`mean_over`). Both results are NaN where
    fewer than three values exist. It holds where values spread evenly, as `adjusted_contrast` does on the log scale
    (docs/calibration.md); raw contrast and every r depend so much on where the cuts are that no interval from few
    videos holds. For shares of tries (recall of cuts) use `share_interval`. Dims: those of `values` without `dim`.

    Raises
    ------
    InputError
        There is no such dim or scale, or the level is out of its range.

    Examples
    --------
    >>> low, high = interval(xr.DataArray([1.0, 2.0, 3.0, 4.0], dims="prompt"))
    >>> round(float(low), 2), round(float(high), 2)
    (-0.28, 5.28)
    """
    _require(values, dim, level)
    ends: xr.DataArray = xr.apply_ufunc(
        partial(student.student_interval, level=level),
        _to_scale(values, scale),
        input_core_dims=[[dim]],
        output_core_dims=[["end"]],
    )
    ends = _from_scale(ends, scale)
    return ends.isel(end=0), ends.isel(end=1)


def share_interval(
    values: xr.DataArray, dim: str = PROMPT, *, most_tries: xr.DataArray | float = 1.0, level: float = 0.95
) -> tuple[xr.DataArray, xr.DataArray]:
    """Give the range in which a mean of shares would likely fall if other films had been made: (low, high).

    `values` are shares in [0, 1], one a film, such as the share of its cuts that were found. Wilson's score interval,
    which holds for shares of 0 and 1 and few films, with as many tries as the films vary: cuts of one film, and films
    of one prompt, go together, and counting each of them as a try would make the interval too short. `most_tries` is
    how many tries a share stands for at most: the cuts of a film, times the seeds. Below five films Student's quantile
    makes it wider; NaN below three.

    Source: Wilson, JASA 22 (1927); effective numbers of tries as in Korn and Graubard, Survey Methodology 24 (1998).

    Raises
    ------
    InputError
        There is no such dim, or the level is out of its range.

    Examples
    --------
    >>> low, high = share_interval(xr.DataArray([1.0, 1.0, 1.0, 1.0], dims="prompt"))
    >>> round(float(low), 2), float(high)
    (0.28, 1.0)
    """
    _require(values, dim, level)
    ends: xr.DataArray = xr.apply_ufunc(
        partial(student.share_interval, level=level),
        values.astype(np.float64),
        most_tries,
        input_core_dims=[[dim], []],
        output_core_dims=[["end"]],
    )
    return ends.isel(end=0), ends.isel(end=1)


def pooled_share_interval(
    hits: xr.DataArray, tries: xr.DataArray, dim: str = PROMPT, *, level: float = 0.95
) -> tuple[xr.DataArray, xr.DataArray]:
    """Give the range in which a share of all cuts would likely fall if other films had been made: (low, high).

    `hits` and `tries` are counts, one pair a film, such as the cuts found in place and the cuts asked for; the share is
    that of their sums. Cuts of one film go together, so Wilson's interval is taken with as many tries as the films
    vary. A film without a try is left out; Student's quantile below five films, NaN below three.

    Source: as `share_interval`; the variance is that of a ratio of sums (Cochran, Sampling Techniques, 1977, 9A).

    Raises
    ------
    InputError
        There is no such dim, the level is out of its range, or there are more hits than tries.

    Examples
    --------
    >>> cuts = xr.DataArray([1, 2, 2, 3, 1, 1], dims="prompt")
    >>> low, high = pooled_share_interval(cuts, cuts)  # ten of ten, in six films
    >>> round(float(low), 2), float(high)
    (0.43, 1.0)
    """
    _require(tries, dim, level)
    counted = hits.astype(np.float64), tries.astype(np.float64)
    if bool((counted[0] < 0).any()) or bool((counted[0] > counted[1]).any()):
        raise InputError(
            expected="hits from 0 to the number of tries",
            got=f"up to {float(hits.max()):g} hits of {float(tries.max()):g}",
            where="in structure.pooled_share_interval",
            remedy="pass the hits of each film, then its tries",
        )
    ends: xr.DataArray = xr.apply_ufunc(
        partial(student.pooled_share_interval, level=level),
        *counted,
        input_core_dims=[[dim], [dim]],
        output_core_dims=[["end"]],
    )
    return ends.isel(end=0), ends.isel(end=1)


def wilson(
    num_hits: npt.ArrayLike, num_tries: npt.ArrayLike, *, level: float = 0.95
) -> tuple[Floats, Floats]:
    """Give the range in which a share would likely lie if counted without end: (low, high).

    Wilson's score interval for ``num_hits`` out of ``num_tries``; it holds for shares of 0 and 1 and for few tries,
    where the usual one collapses. NaN where nothing was tried. Tries are taken as independent: for several cuts of one
    film see `pooled_share_interval`.

    Source: Wilson, JASA 22 (1927), 209-212.

    Raises
    ------
    InputError
        There are more hits than tries, or the level is out of its range.

    Examples
    --------
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
    with np.errstate(invalid="ignore"):
        ends = student.wilson(hits / tries, tries, float(ndtri((1 + level) / 2)))
    return ends[..., 0], ends[..., 1]


def profile(
    values: xr.DataArray, along: str = LAYER, *, level: float | None = 0.95, scale: Scale = "linear"
) -> xr.Dataset:
    """Follow a statistic through the layers: its mean over everything else, and how sure that mean is.

    `values` is any statistic with the dim `along`. First the mean over all dims but `along` and `prompt`, then
    `mean`, `low` and `high` (see `mean_over` and `interval`) and `num` (videos with a value) over prompts, each on dim
    `along`. NaN is left out of means. Contrasts want `scale="log"`; `level=None` leaves the interval out, for
    statistics that have none.

    Raises
    ------
    InputError
        There is no such dim or scale, or the level is out of its range.

    Examples
    --------
    >>> values = xr.DataArray([[1.0, 10.0], [4.0, 40.0]], dims=("prompt", "layer"), coords={"layer": [1, 2]})
    >>> profile(values, scale="log")["mean"].values
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
    if level is None:
        low = high = xr.full_like(per_prompt.isel({PROMPT: 0}, drop=True), np.nan, dtype=np.float64)
    else:
        low, high = interval(per_prompt, level=level, scale=scale)
    return xr.Dataset(
        {
            "mean": mean_over(per_prompt, scale=scale),
            "low": low,
            "high": high,
            "num": per_prompt.notnull().sum(PROMPT),
        },
        attrs={
            "statistic": str(values.name or ""),
            "scale": scale,
            **({} if level is None else {"level": level}),
        },
    )


def _require_dim(values: xr.DataArray, dim: str) -> None:
    if dim not in values.dims:
        raise InputError(
            expected="a dim of the values to average",
            got=f"{dim!r}",
            where=f"where there are {', '.join(map(str, values.dims)) or 'none'}",
            remedy="name one of those",
        )


def _require(values: xr.DataArray, dim: str, level: float) -> None:
    _require_dim(values, dim)
    if not 0 < level < 1:
        raise InputError(
            expected="a level between 0 and 1", got=f"{level}", where="in interval", remedy="0.95 is usual"
        )


def _to_scale(values: xr.DataArray, scale: Scale) -> xr.DataArray:
    if scale not in ("linear", "log"):
        raise InputError(
            expected="scale 'linear' or 'log'",
            got=f"{scale!r}",
            where="in interval",
            remedy="ratios go on the log scale",
        )
    numbers = values.astype(np.float64)
    if scale == "linear":
        return numbers
    with np.errstate(divide="ignore"):
        logs: xr.DataArray = xr.apply_ufunc(np.log, numbers)
    return logs


def _from_scale(values: xr.DataArray, scale: Scale) -> xr.DataArray:
    if scale == "linear":
        return values
    ratios: xr.DataArray = xr.apply_ufunc(np.exp, values)
    return ratios
