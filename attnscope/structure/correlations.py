"""Correlation of "who looks at whom" with "who shares a shot"."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import xarray as xr

from attnscope.schema import KEY_FRAME, QUERY_FRAME
from attnscope.structure.arrays import pearson
from attnscope.structure.maps import AVERAGED, frame_mass_of, mean_map, shots_of


def correlation(
    ds: xr.Dataset,
    *,
    over: Sequence[str] = AVERAGED,
    diagonal: bool = False,
    distance_removed: bool = False,
) -> xr.DataArray:
    """Say how well "who looks at whom" agrees with "who shares a shot": 1 in every way, 0 not at all.

    Pearson correlation, over pairs of latent frames, of `mass` with the indicator of a shared shot; without the
    diagonal unless asked. Maps are averaged along `over` first, as in `contrast`. Raw r is about 0.5 for any diagonal
    band, for true and for false cuts.

    `distance_removed=True` first subtracts from both variables their mean at each |query frame - key frame|, which
    takes away what mere locality explains. Not all of locality goes: rows sum to 1, so frames near the ends keep more
    for their neighbours, and a purely local map of 21 frames still gives -0.25 for a cut at the edge and +0.2 for one
    in the middle. `adjusted_r` takes out rows and columns too. No p belongs to either r: see `cut_test`.

    Dims: those of `ds` without the frames and `over`. NaN for single-shot videos, prompts without a plan, maps not
    recorded and flat maps.

    Raises
    ------
    SchemaError
        The dataset lacks frame maps.
    ShotPlanError
        No video has a plan.

    Notes
    -----
    Source: CineTrans (arXiv 2508.11484) prints r = 0.71; its variables are not published.

    Examples
    --------
    >>> from attnscope import synthetic
    >>> round(float(correlation(synthetic.example()).mean()), 3)
    1.0
    """
    maps = mean_map(ds, over)
    found: xr.DataArray = xr.apply_ufunc(
        partial(pearson.correlation, diagonal=diagonal, distance_removed=distance_removed),
        frame_mass_of(maps),
        shots_of(maps),
        input_core_dims=[[QUERY_FRAME, KEY_FRAME], [QUERY_FRAME]],
    )
    return found.rename("r_distance_removed" if distance_removed else "r")
