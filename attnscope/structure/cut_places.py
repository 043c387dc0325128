"""Where attention itself suggests a cut, and how far that is from the cuts that were asked for."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
import xarray as xr

from attnscope.errors import InputError
from attnscope.schema import KEY_FRAME, QUERY_FRAME
from attnscope.structure.arrays import novelty as curves
from attnscope.structure.maps import cuts_of, frame_mass_of

BOUNDARY = "boundary"


def boundaries(
    ds: xr.Dataset,
    *,
    num: int | Literal["known"] | None = None,
    threshold: float = 0.2,
    kernel: int = 3,
    distance_normalised: bool = True,
    first_key_frame: bool = True,
) -> xr.Dataset:
    """Find the places where attention falls apart into blocks, without being told the cuts.

    `novelty`, on dim `boundary` = 1..F-1 (the latent frame that would start a new shot): a checkerboard of half-width
    `kernel` latent frames runs along the diagonal of the map averaged with its transpose; (beside - across) /
    (beside + across), where `beside` is the mean over pairs of different frames on one side of the place and `across`
    over pairs on both sides. Between -1 and 1; 0.2 means that pairs beside get 1.5 times as much as pairs across.
    Near the ends the checkerboard is clipped. `distance_normalised` divides each pair by the mean of all pairs
    equally far apart first, so that locality alone gives 0; `first_key_frame=False` ignores looks at latent frame 0.
    `picked`: the local maxima that reach `threshold`, or the `num` highest ("known": as many as the plan has cuts,
    which tells where but not whether). Dims: those of `ds` without the frames, plus `boundary`.

    Raises
    ------
    InputError
        `num` or `kernel` is out of its range.
    SchemaError
        The dataset lacks frame maps.
    ShotPlanError
        `num` is "known", and no video has a plan.

    Notes
    -----
    Source: checkerboard novelty, J. Foote, ICME 2000 (there without clipping and with a Gaussian taper).

    Examples
    --------
    >>> from attnscope import synthetic
    >>> found = boundaries(synthetic.example()).isel(prompt=0, step=0, branch=0, layer=0, head=0)
    >>> found.boundary[found.picked].values
    array([3])
    """
    if kernel < 2:
        raise InputError(
            expected="a half-width of at least 2 latent frames",
            got=f"{kernel}",
            where="in kernel of boundaries",
            remedy="one frame on each side leaves no pair beside the cut to compare with",
        )
    function = partial(
        curves.checkerboard_novelty,
        half_width=kernel,
        distance_normalised=distance_normalised,
        first_key_frame=first_key_frame,
    )
    mass = frame_mass_of(ds)
    curve: xr.DataArray = xr.apply_ufunc(
        function, mass, input_core_dims=[[QUERY_FRAME, KEY_FRAME]], output_core_dims=[[BOUNDARY]]
    )
    curve = curve.assign_coords({BOUNDARY: np.arange(1, mass.sizes[QUERY_FRAME])})
    picked: xr.DataArray = xr.apply_ufunc(
        lambda one, count: curves.peaks(one, num=None if count < 0 else int(count), threshold=threshold),
        curve,
        _count(ds, num),
        input_core_dims=[[BOUNDARY], []],
        output_core_dims=[[BOUNDARY]],
        vectorize=True,
        output_dtypes=[np.bool_],
    )
    return xr.Dataset({"novelty": curve, "picked": picked})


def _count(ds: xr.Dataset, num: int | str | None) -> xr.DataArray:
    """Give how many peaks to pick, -1 for "those above the threshold"."""
    if num == "known":
        return cuts_of(ds).sum(BOUNDARY)
    if isinstance(num, str) or (num is not None and num < 0):
        raise InputError(
            expected="a number of cuts, 'known' or None",
            got=f"{num!r}",
            where="in num of boundaries",
            remedy="None picks by threshold",
        )
    return xr.DataArray(-1 if num is None else num)


def boundary_error(found: xr.Dataset, ds: xr.Dataset, *, tolerance_frame: float = 0) -> xr.Dataset:
    """Compare the places that attention suggests with the cuts of the plan.

    Each cut is paired with at most one found place, at most `tolerance_frame` latent frames away: as many pairs as
    possible, and among those the closest. `precision` (NaN when nothing was found), `recall` (NaN for a single-shot
    video), `f1`, `offset_frame` (mean of found minus true over the pairs, positive = late) and `distance_frame` (mean
    of its absolute value), in latent frames. `tolerance_frame=float("inf")` measures offsets whatever they are.
    Dims: those of `found` without `boundary`.

    >>> from attnscope import synthetic
    >>> ds = synthetic.example()
    >>> float(boundary_error(boundaries(ds), ds).recall.min())
    1.0
    """
    names = ["precision", "recall", "f1", "offset_frame", "distance_frame"]
    scores: xr.DataArray = xr.apply_ufunc(
        partial(curves.boundary_error, tolerance_frame=tolerance_frame),
        found["picked"],
        cuts_of(ds),
        input_core_dims=[[BOUNDARY], [BOUNDARY]],
        output_core_dims=[["score"]],
        vectorize=True,
        output_dtypes=[np.float64],
    )
    return scores.assign_coords(score=names).to_dataset("score")
