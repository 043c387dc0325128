"""How much more a frame looks inside its own shot than across a cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import xarray as xr

from attnscope._types import Floats
from attnscope.errors import InputError
from attnscope.schema import HEAD, KEY_FRAME, LAYER, PROMPT, QUERY_FRAME, STEP
from attnscope.structure.arrays import pair_means
from attnscope.structure.maps import AVERAGED, frame_mass_of, mean_map, shots_of

_CORE = [[QUERY_FRAME, KEY_FRAME], [QUERY_FRAME]]


def _per_map(ds: xr.Dataset, function: Callable[..., Floats], name: str, over: Sequence[str]) -> xr.DataArray:
    """Apply an array function of (mass, shot) to each frame map of the dataset, once averaged along `over`."""
    maps = mean_map(ds, over)
    result: xr.DataArray = xr.apply_ufunc(
        function, frame_mass_of(maps), shots_of(maps), input_core_dims=_CORE
    )
    return result.rename(name)


def contrast(
    ds: xr.Dataset,
    *,
    over: Sequence[str] = AVERAGED,
    diagonal: bool = True,
    first_key_frame: bool = True,
) -> xr.DataArray:
    """Say how many times more a frame looks at a frame of its own shot than at one across a cut.

    One definition, in Python and on the command line: maps are averaged along `over` first, over denoising steps and
    heads unless asked; then the mean `mass` over all pairs of latent frames in one shot is divided by the mean over
    all pairs in different shots. One number for each map that is left (dims of `ds` without the frames and `over`).
    Contrasts of several videos are averaged as their logarithms (`interval` and `profile` with `scale="log"`). The
    contrast of a mean map is not the mean of contrasts: `over=()` gives those of single maps, which one extreme head
    can carry, and `pooled_contrast` the ratio over all maps together.

    1 means that attention ignores the cuts; the paper reports about 26.68 for its pooled maps. Attention that only
    decays with distance gives more than 1 too: read it beside `distance_only_contrast`, which is that, and
    `adjusted_contrast`. `diagonal=False` leaves out what a frame gives to itself, `first_key_frame=False`
    leaves out what is given to latent frame 0 (a sink in many layers). NaN for a single-shot video (there is no pair
    across a cut), for a prompt without a plan and for a map that was not recorded; infinite when nothing crosses a
    cut (a hard mask).

    Raises
    ------
    SchemaError
        The dataset lacks frame maps.
    ShotPlanError
        No video has a plan.

    Notes
    -----
    Source: CineTrans (arXiv 2508.11484), section on analysis; the exact population there is not published.

    Examples
    --------
    >>> from attnscope import synthetic
    >>> round(float(contrast(synthetic.example(contrast=10.0)).mean()), 3)
    10.0
    """
    function = partial(pair_means.contrast, diagonal=diagonal, first_key_frame=first_key_frame)
    return _per_map(ds, function, "contrast", over)


def distance_only_contrast(
    ds: xr.Dataset,
    *,
    over: Sequence[str] = AVERAGED,
    diagonal: bool = True,
    first_key_frame: bool = True,
) -> xr.DataArray:
    """Say what the contrast would be if attention knew how far apart two frames are and nothing else.

    Each pair of frames gets the mean mass of all pairs equally far apart, |query frame - key frame|; of that map the
    contrast is taken. A head that looks at its neighbours has a high one in a film of one shot against any cut: what
    `contrast` has beyond this is what is left to explain. Arguments, dims and NaN as in `contrast`.

    >>> from attnscope import synthetic
    >>> from attnscope.shots import ShotPlan
    >>> plan = ShotPlan.from_latent_frames([3], num_frames_latent=6, fps=16).to_latent()
    >>> local = synthetic.block_attention(plan, contrast=1.0, locality=1.0)
    >>> round(float(contrast(local).mean()), 1), round(float(distance_only_contrast(local).mean()), 1)
    (6.1, 5.8)
    """
    function = partial(pair_means.distance_only_contrast, diagonal=diagonal, first_key_frame=first_key_frame)
    return _per_map(ds, function, "distance_only_contrast", over)


def pooled_contrast(
    ds: xr.Dataset,
    over: Sequence[str] = (PROMPT, STEP, LAYER, HEAD),
    *,
    diagonal: bool = True,
    first_key_frame: bool = True,
) -> xr.DataArray:
    """Give one contrast for many maps together: the ratio of means, where every pair of frames counts once.

    Pairs of all maps along `over` are put in one pot before dividing, so maps with much mass across the cuts weigh
    more than in `contrast(ds).mean(over)`, the mean of ratios, which one extreme layer can carry. Maps that were not
    recorded and videos without a cut are left out of both means. Dims: those of `ds` without the frames and `over`.

    >>> from attnscope import synthetic
    >>> ds = synthetic.example(contrast=10.0)
    >>> round(float(pooled_contrast(ds).squeeze()), 3)
    10.0
    """
    sums: tuple[xr.DataArray, ...] = xr.apply_ufunc(
        partial(pair_means.intra_inter, diagonal=diagonal, first_key_frame=first_key_frame),
        frame_mass_of(ds),
        shots_of(ds),
        input_core_dims=_CORE,
        output_core_dims=[[], [], [], []],
    )
    intra, num_intra, inter, num_inter = sums
    present = [name for name in over if name in intra.dims]
    usable = intra.notnull() & inter.notnull() & (num_inter > 0)
    means = [
        total.where(usable).sum(present) / count.where(usable).sum(present)
        for total, count in ((intra, num_intra), (inter, num_inter))
    ]
    result: xr.DataArray = xr.apply_ufunc(pair_means.ratio, *means)
    return result.rename("pooled_contrast")


def lag_matched_contrast(
    ds: xr.Dataset, *, over: Sequence[str] = AVERAGED, first_key_frame: bool = True
) -> xr.DataArray:
    """Say how much more a frame looks inside its shot than across a cut, at the same distance in time.

    For each |query frame - key frame| at which pairs of both kinds exist, the mean inside is set against the mean
    across; distances are weighted by n_intra * n_inter / (n_intra + n_inter) (the Mantel-Haenszel ratio), so one with
    few pairs of either kind counts little. A map that depends on distance alone gives exactly 1, whatever the cuts.
    The diagonal never takes part. Dims, NaN and infinity as in `contrast`; NaN also when no distance has both kinds.

    >>> from attnscope import synthetic
    >>> round(float(lag_matched_contrast(synthetic.example(contrast=10.0)).mean()), 3)
    10.0
    """
    function = partial(pair_means.lag_matched_contrast, first_key_frame=first_key_frame)
    return _per_map(ds, function, "lag_matched_contrast", over)


def own_shot_mass(ds: xr.Dataset, *, over: Sequence[str] = AVERAGED) -> xr.DataArray:
    """Give the share of attention that stays in the query's own shot, between 0 and 1.

    Mean over query frames of the mass on the frames of the same shot, divided by the mass on all frames (text is
    left out). 1 under a hard mask, where `contrast` is infinite; the share of frames in the own shot if attention
    is even. Maps are averaged along `over` first, as in `contrast`. 1 for a single-shot video, NaN without a plan.

    >>> from attnscope import synthetic
    >>> round(float(own_shot_mass(synthetic.example(contrast=9.0)).mean()), 3)
    0.9
    """
    return _per_map(ds, pair_means.own_shot_mass, "own_shot_mass", over)


def first_frame_sink(
    ds: xr.Dataset, *, over: Sequence[str] = AVERAGED, queries: str = "other_shots"
) -> xr.DataArray:
    """Say how many times more than expected later frames look back at the very first latent frame.

    The mass that queries outside the first shot give to key frame 0, divided by what pairs across a cut with the
    same |query frame - key frame| and another key give on average. 1 means that frame 0 is a frame like any other.
    `queries="all"` takes every query but frame 0 itself and compares with all pairs equally far apart, whatever their
    shots; that form is also defined for a single-shot video, where the default is NaN. Maps are averaged along `over`
    first, as in `contrast`.

    Source: the motive for the visible first frame in CineTrans (arXiv 2508.11484); the measure is ours.

    >>> from attnscope import synthetic
    >>> round(float(first_frame_sink(synthetic.example()).mean()), 3)
    1.0
    """
    if queries not in ("other_shots", "all"):
        raise InputError(
            expected="queries 'other_shots' or 'all'",
            got=f"{queries!r}",
            where="in first_frame_sink",
            remedy="name one of the two",
        )
    function = partial(pair_means.first_frame_sink, other_shots_only=queries == "other_shots")
    return _per_map(ds, function, "first_frame_sink", over)
