"""Whether attention follows the shots more than chance and distance explain."""

from __future__ import annotations

from functools import partial

import numpy as np
import xarray as xr

from attnscope.errors import InputError
from attnscope.schema import KEY_FRAME, PROMPT, QUERY_FRAME
from attnscope.structure.arrays import shift_null
from attnscope.structure.maps import frame_mass_of, shots_of


def correlation(
    ds: xr.Dataset,
    *,
    diagonal: bool = False,
    distance_removed: bool = False,
    num_shifts: int | str = "all",
) -> xr.Dataset:
    """Say how well "who looks at whom" agrees with "who shares a shot", and whether other cuts would do as well.

    `r`: Pearson correlation, over pairs of latent frames, of `mass` with the indicator of a shared shot; without the
    diagonal unless asked. `p`: the share of plans that reach at least this r when all cuts are moved together round
    the F-1 places of the video (s = 1..F-2 places; the number of cuts stays, the true plan counts as one). It is
    one-sided and exact; it is never below 1/(F-1), 0.05 at 21 latent frames, so one video of that length cannot show
    p < 0.01: combine videos with `combined_p`. The textbook p-value is not given, as the F*F entries of one map are
    not independent. `null` (extra dim `shift`): the r of each moved plan.

    `distance_removed=True` first subtracts from both variables their mean at each |query frame - key frame|, which
    takes away what mere locality explains: raw r is about 0.5 for any diagonal band, for true and for false cuts. The
    indicator is symmetric, so removing the mean of each signed distance would leave the numerator of r as it is.
    Not all of locality goes: rows sum to 1, so frames near the ends keep more for their neighbours, and a purely
    local map of 21 frames still gives -0.25 for a cut at the edge and +0.2 for one in the middle. Hence `p` takes
    the cuts for placed at random; where every video is cut in the middle, compare with the same maps of single-shot
    videos instead.

    Dims: those of `ds` without the frames. NaN for single-shot videos, prompts without a plan, maps not recorded
    and flat maps. `num_shifts`: "all", or how many evenly spread ones to try.

    Raises: InputError (num_shifts), SchemaError, ShotPlanError. Source: CineTrans (arXiv 2508.11484) prints r = 0.71;
    its variables are not published.

    >>> from attnscope import synthetic
    >>> from attnscope.shots import ShotPlan
    >>> plan = ShotPlan.from_latent_frames([3], num_frames_latent=6, fps=16).to_latent()
    >>> found = correlation(synthetic.block_attention(plan))
    >>> round(float(found.r.mean()), 3), round(float(found.p.mean()), 3), found.attrs["smallest_p"]
    (1.0, 0.2, 0.2)
    """
    mass = frame_mass_of(ds)
    shifts = shift_null.shifts_to_try(mass.sizes[QUERY_FRAME], _number(num_shifts))
    found: tuple[xr.DataArray, ...] = xr.apply_ufunc(
        partial(shift_null.correlation, shifts=shifts, diagonal=diagonal, distance_removed=distance_removed),
        mass,
        shots_of(ds),
        input_core_dims=[[QUERY_FRAME, KEY_FRAME], [QUERY_FRAME]],
        output_core_dims=[[], [], ["shift"]],
    )
    r, p, null = found
    attrs = {
        "smallest_p": 1 / (1 + len(shifts)),
        "diagonal": int(diagonal),
        "distance_removed": int(distance_removed),
    }
    return xr.Dataset({"r": r, "p": p, "null": null}, attrs=attrs).assign_coords(shift=np.asarray(shifts))


def _number(num_shifts: int | str) -> int | None:
    if num_shifts == "all":
        return None
    if isinstance(num_shifts, str) or num_shifts < 1:
        raise InputError(
            expected="'all' or a number of at least 1",
            got=f"{num_shifts!r}",
            where="in num_shifts of correlation",
            remedy="use 'all' unless videos have hundreds of latent frames",
        )
    return num_shifts


def combined_p(found: xr.Dataset, dim: str = PROMPT, *, num_draws: int = 9999, seed: int = 0) -> xr.DataArray:
    """Give one p-value for many videos: how often would the mean r be this high if the cuts sat elsewhere.

    `found` is what `correlation` returned. The mean of `r` along `dim` is compared with `num_draws` means in which
    every video takes one of its plans (the true or a moved one) at random, each on its own; the smallest reachable
    value is 1/(num_draws + 1). Videos with NaN are left out; a single video keeps its exact p.

    >>> from attnscope import synthetic
    >>> from attnscope.shots import ShotPlan
    >>> plan = ShotPlan.from_latent_frames([3], num_frames_latent=6, fps=16).to_latent()
    >>> ds = synthetic.block_attention(plan)
    >>> videos = xr.concat([ds.assign_coords(prompt=[i]) for i in range(6)], "prompt")
    >>> bool((combined_p(correlation(videos)) < 0.01).all())
    True
    """
    if dim not in found["r"].dims:
        raise InputError(
            expected="a dim of the correlation to combine",
            got=f"{dim!r}",
            where=f"where there are {', '.join(map(str, found['r'].dims)) or 'none'}",
            remedy="name one of those",
        )
    result: xr.DataArray = xr.apply_ufunc(
        partial(shift_null.combined_p, num_draws=num_draws, seed=seed),
        found["r"],
        found["null"],
        input_core_dims=[[dim], [dim, "shift"]],
        vectorize=True,
        output_dtypes=[np.float64],
    )
    return result.rename("p")
