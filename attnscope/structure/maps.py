"""What every statistic needs of an attention dataset: its frame maps, its shots, and averages of maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from attnscope.errors import InputError, SchemaError, ShotPlanError
from attnscope.schema import (
    BRANCH,
    DIMS,
    HEAD,
    KEY_FRAME,
    KEY_SHOT,
    MASS,
    PROMPT,
    QUERY_FRAME,
    QUERY_SHOT,
    STEP,
    TEXT_MASS,
)

AVERAGED = (STEP, HEAD)
"""Along these a statistic averages maps before it measures, unless told otherwise: as the paper averages heads."""


def frame_mass_of(ds: xr.Dataset) -> xr.DataArray:
    """Take the frame maps out of a dataset, in memory, and check that they are frame by frame."""
    if MASS not in ds or not {QUERY_FRAME, KEY_FRAME} <= set(ds[MASS].dims):
        raise SchemaError(
            expected=f"a variable {MASS!r} with dims {QUERY_FRAME} and {KEY_FRAME}",
            got=f"variables {sorted(map(str, ds.data_vars))}",
            where="in the dataset",
            remedy="pass what probe or open_zarr returned",
        )
    if ds.sizes[QUERY_FRAME] != ds.sizes[KEY_FRAME]:
        raise SchemaError(
            expected="as many query as key frames",
            got=f"{ds.sizes[QUERY_FRAME]} and {ds.sizes[KEY_FRAME]}",
            where=f"in {MASS!r}",
            remedy="select both frame dims alike",
        )
    return ds[MASS].compute()


def shots_of(ds: xr.Dataset) -> xr.DataArray:
    """Take the shot of each latent frame, `(query_frame)` or `(prompt, query_frame)`; -1 where none was given."""
    if QUERY_SHOT not in ds.coords or not bool((ds[QUERY_SHOT] >= 0).any()):
        raise ShotPlanError(
            expected="a shot for each latent frame",
            got="none",
            where=f"in coordinate {QUERY_SHOT!r} of the dataset",
            remedy="attach a plan with schema.with_shots(ds, plan.to_latent())",
        )
    # Only the shots themselves: other frame coordinates would ride along into every result.
    return ds[QUERY_SHOT].compute().reset_coords(drop=True)


def film_shots_of(maps: xr.Dataset, where: str) -> xr.DataArray:
    """Take the shots of each film, `(prompt, query_frame)`, for a test that compares films with one another.

    Raises
    ------
    InputError
        The shots differ along another dim too: then it is not known what one film is.
    """
    shot = shots_of(maps)
    if more := [str(dim) for dim in shot.dims if dim not in (PROMPT, QUERY_FRAME)]:
        raise InputError(
            expected=f"one plan for each film along {PROMPT}",
            got=f"shots that differ along {', '.join(more)}",
            where=f"in {where}",
            remedy=f"select one along {more[0]}, or let {PROMPT} number all films",
        )
    films = maps[MASS][PROMPT] if PROMPT in maps[MASS].coords else xr.DataArray(np.zeros(1), dims=PROMPT)
    return shot.broadcast_like(films).transpose(PROMPT, QUERY_FRAME)


def branch_of(ds: xr.Dataset, branch: str) -> xr.Dataset:
    """Take one guidance branch; a dataset without branches is taken as it is.

    Raises
    ------
    InputError
        That branch was not recorded.
    """
    if BRANCH not in ds.dims:
        return ds
    if branch not in ds[BRANCH].values:
        raise InputError(
            expected="a recorded guidance branch",
            got=f"{branch!r}",
            where=f"where the dataset has {', '.join(map(str, ds[BRANCH].values))}",
            remedy="name one of those",
        )
    return ds.sel({BRANCH: branch})


def require_known_dims(ds: xr.Dataset, where: str) -> None:
    """Refuse a dim that the schema has not, where films and heads are put in one table.

    Raises
    ------
    InputError
        There is one.
    """
    if MASS in ds and (more := [str(dim) for dim in ds[MASS].dims if dim not in DIMS]):
        raise InputError(
            expected=f"the dims {', '.join(DIMS)}",
            got=f"{', '.join(more)} too",
            where=f"in {where}",
            remedy=f"select one along {more[0]}, as in ds.isel({more[0]}=0)",
        )


def cuts_of(ds: xr.Dataset) -> xr.DataArray:
    """Say for each place between two latent frames whether the plan cuts there: dim `boundary` = 1..F-1."""
    shot = shots_of(ds)
    later, earlier = shot.isel({QUERY_FRAME: slice(1, None)}), shot.isel({QUERY_FRAME: slice(None, -1)})
    is_cut = later.drop_vars(list(later.coords)) != earlier.drop_vars(list(earlier.coords))
    kept = {name: coord for name, coord in shot.coords.items() if QUERY_FRAME not in coord.dims}
    return (
        is_cut.rename({QUERY_FRAME: "boundary"})
        .assign_coords(kept)
        .assign_coords(boundary=np.arange(1, shot.sizes[QUERY_FRAME]))
        .rename("is_cut")
    )


def with_cuts(dataset: xr.Dataset, cuts_frame: Sequence[Sequence[int]]) -> xr.Dataset:
    """Say where each film is cut, in its own pictures: what to measure against where a film was not cut as asked.

    ``cuts_frame`` has the cuts of each prompt's film in video frames, as :func:`attnscope.metrics.detect_cuts` finds
    them; each goes to the nearest latent frame that can begin a shot. A film without cuts is one shot.

    Raises
    ------
    SchemaError
        There are not as many films as prompts, or a cut lies outside of its film.

    Examples
    --------
    >>> from attnscope.testing.synthetic import block_attention
    >>> from attnscope.shots import ShotPlan
    >>> dataset = block_attention(ShotPlan.from_frames([5], num_frames=17, fps=8).to_latent())
    >>> with_cuts(dataset, [[10, 9]]).query_shot.values.tolist()
    [0, 0, 0, 1, 1]
    """
    starts, num_frames = dataset["query_start_frame"].values, int(dataset["query_stop_frame"].values[-1])
    wrong = [cut for cuts in cuts_frame for cut in cuts if not 0 < cut < num_frames]
    num_prompts = dataset.sizes.get(PROMPT, 1)
    if wrong or len(cuts_frame) != num_prompts:
        raise SchemaError(
            expected=f"cuts within {num_frames} frames for each of {num_prompts} prompts",
            got=f"{len(cuts_frame)} films and the cuts {wrong}",
            where="in with_cuts",
            remedy="look for the cuts of every film that was measured",
        )
    table = np.zeros((len(cuts_frame), len(starts)), dtype=np.int32)
    for row, cuts in zip(table, cuts_frame, strict=True):
        nearest = {1 + int(np.abs(starts[1:] - cut).argmin()) for cut in cuts}
        row += np.isin(np.arange(len(starts)), list(nearest)).cumsum().astype(np.int32)
    alike = bool((table == table[0]).all())
    shots = {
        name: (dim, table[0]) if alike else ((PROMPT, dim), table)
        for name, dim in ((QUERY_SHOT, QUERY_FRAME), (KEY_SHOT, KEY_FRAME))
    }
    return dataset.drop_vars([QUERY_SHOT, KEY_SHOT], errors="ignore").assign_coords(shots)


def mean_map(ds: xr.Dataset, over: str | Sequence[str] = AVERAGED) -> xr.Dataset:
    """Average frame maps before anything is measured on them, as the paper averages heads.

    Averages `mass` (and `text_mass`) over the dims `over`, in float64; maps that were not recorded (NaN) are left
    out; a dim that the dataset does not have any more is already averaged and is passed over. Dims: those of `ds`
    without `over`. A statistic of the mean map is not the mean of the statistic.

    Raises
    ------
    InputError
        A name is no dim of the schema or of `ds`, or a frame dim.

    Examples
    --------
    >>> from attnscope import synthetic
    >>> sorted(mean_map(synthetic.example())["mass"].sizes)
    ['branch', 'key_frame', 'layer', 'prompt', 'query_frame']
    """
    names = [over] if isinstance(over, str) else list(over)
    allowed = [str(name) for name in dict.fromkeys([*DIMS, *ds.dims]) if name not in (QUERY_FRAME, KEY_FRAME)]
    wrong = [name for name in names if name not in allowed]
    if wrong:
        raise InputError(
            expected=f"dims among {', '.join(allowed)}",
            got=f"{wrong[0]!r}",
            where="in `over`",
            remedy="name one of those",
        )
    kept = ds[[name for name in (MASS, TEXT_MASS) if name in ds]]
    present = [name for name in names if name in kept.dims]
    if not present:
        return kept
    return kept.mean(present, skipna=True, keep_attrs=True, dtype=np.float64)
