"""How much more a frame looks inside its own shot, distance, popularity and place apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from attnscope._types import Floats
from attnscope.errors import InputError
from attnscope.schema import KEY_FRAME, PROMPT, QUERY_FRAME
from attnscope.structure.arrays import adjustment
from attnscope.structure.arrays.pair_means import Ints, Mass
from attnscope.structure.arrays.place_matched import measure_films
from attnscope.structure.maps import AVERAGED, film_shots_of, frame_mass_of, mean_map, shots_of


def adjusted_contrast(
    ds: xr.Dataset,
    *,
    over: Sequence[str] = AVERAGED,
    first_key_frame: bool | None = None,
    signed_lag: bool = False,
) -> xr.DataArray:
    """Say how many times more attention a frame of the own shot gets than an equally far, equally popular one outside.

    exp(beta) of "same shot" in log mass = row + column + lag + beta * same shot + rest, least squares over the pairs of
    different latent frames of one map. The row is what each query's softmax divides by, the column how popular a key
    frame is with all queries alike, the lag |query - key|. So the result does not change when rows or columns of a map
    are multiplied, and 1 is no trace of the cuts, also in a map that looks at its neighbours. One value for each map
    that is left when maps are averaged along `over`; its interval over videos is `interval(..., scale="log")`.

    It takes out locality that is the same everywhere in the film. Locality that is not, such as a model that sees the
    first frames otherwise than the last, stays inside; `place_matched_contrast` takes it out where films have
    different cuts.

    Parameters
    ----------
    over
        Maps are averaged along these dims first.
    first_key_frame
        Whether what is given to latent frame 0 takes part. None, the default, leaves it out of maps where it gets more
        than 1.5 times what the distance explains (`first_frame_sink(queries="all")`): a pull that is added to every
        row is no multiple of a column.
    signed_lag
        Whether query - key takes the place of its absolute value, for models that look back otherwise than ahead. The
        contrast is the same unless frame 0 or pairs without mass are left out, the r is not.

    Returns
    -------
    xarray.DataArray
        Dims of `ds` without the frames and `over`. NaN for a single-shot video, no plan, a map that was not recorded,
        and shots that rows, columns and lags explain wholly (one cut, after the first frame or before the last one).
        Pairs without mass (hard masks) have no logarithm and are left out, attribute `num_pairs_without_mass`;
        infinite where no pair across a cut has any.

    Raises
    ------
    SchemaError, ShotPlanError
        No frame maps, or no shots.

    Examples
    --------
    >>> from attnscope import synthetic
    >>> from attnscope.shots import ShotPlan
    >>> plan = ShotPlan.from_latent_frames([3], num_frames_latent=8, fps=16).to_latent()
    >>> local = synthetic.block_attention(plan, contrast=1.3, locality=1.0, first_frame_sink=0.2)
    >>> round(float(adjusted_contrast(local).mean()), 3)
    1.3
    """
    beta, _, num_zero = _fit(ds, over, first_key_frame, signed_lag)
    result: xr.DataArray = xr.apply_ufunc(np.exp, beta)
    return result.rename("adjusted_contrast").assign_attrs(num_pairs_without_mass=int(num_zero.sum()))


def adjusted_r(
    ds: xr.Dataset,
    *,
    over: Sequence[str] = AVERAGED,
    first_key_frame: bool | None = None,
    signed_lag: bool = False,
) -> xr.DataArray:
    """Say how well attention agrees with the shots once distance and the popularity of frames are taken out.

    The partial correlation of log mass with "same shot", given rows, columns and lags: the r that belongs to
    `adjusted_contrast`, between -1 and 1. Arguments, dims and NaN are the same; NaN too for a map without any rest.

    Raises
    ------
    SchemaError
        The dataset lacks frame maps.
    ShotPlanError
        No video has a plan.

    Examples
    --------
    >>> from attnscope import synthetic
    >>> from attnscope.shots import ShotPlan
    >>> plan = ShotPlan.from_latent_frames([3], num_frames_latent=8, fps=16).to_latent()
    >>> round(float(adjusted_r(synthetic.block_attention(plan, locality=1.0)).mean()), 3)
    1.0
    """
    return _fit(ds, over, first_key_frame, signed_lag)[1].rename("adjusted_r")


def _fit(
    ds: xr.Dataset, over: Sequence[str], first_key_frame: bool | None, signed_lag: bool
) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    maps = mean_map(ds, over)
    found: tuple[xr.DataArray, xr.DataArray, xr.DataArray] = xr.apply_ufunc(
        adjustment.fit,
        frame_mass_of(maps),
        shots_of(maps),
        input_core_dims=[[QUERY_FRAME, KEY_FRAME], [QUERY_FRAME]],
        output_core_dims=[[], [], []],
        kwargs={"first_key_frame": first_key_frame, "signed_lag": signed_lag},
    )
    return found


def place_matched_contrast(
    ds: xr.Dataset,
    *,
    over: Sequence[str] = AVERAGED,
    first_key_frame: bool | None = None,
    level: float = 0.95,
) -> xr.Dataset:
    """Say how many times more attention two frames exchange in films where no cut parts them than where one does.

    The same two places of the film are compared between films: log mass = row + column of the film + place (query,
    key), the same in all films + beta * same shot + rest, least squares over all films of `ds` together. What films
    have in common at a place goes out whole, so that a model which is sharper at the ends of a film, or sees its first
    frames otherwise, gives 1 for cuts that it does not know. Films of one shot may be among them. Needs films with
    different cuts.

    Parameters
    ----------
    over
        Maps are averaged along these dims first.
    first_key_frame
        As in `adjusted_contrast`; None decides on the mean map of the films.
    level
        Of the interval, which is a jackknife over films on the logarithm, with Student's t.

    Returns
    -------
    xarray.Dataset
        `contrast`, `low`, `high`, and `num`, the films it rests on; dims of `ds` without the frames, `over` and prompt.
        NaN where films with a plan and with mass on every pair do not have different cuts; the interval is NaN below
        three such films.

    Raises
    ------
    InputError
        No dim of prompts, or shots that differ along another.

    Examples
    --------
    >>> import numpy as np
    >>> from attnscope import schema, synthetic
    >>> from attnscope.shots import ShotPlan
    >>> plans = [ShotPlan.from_latent_frames([cut], num_frames_latent=8, fps=16).to_latent() for cut in (2, 4, 5, 6)]
    >>> films = [synthetic.block_attention(plan, contrast=2, noise=0.1, seed=i) for i, plan in enumerate(plans)]
    >>> bare = [film.drop_vars(["query_shot", "key_shot"]).assign_coords(prompt=[i]) for i, film in enumerate(films)]
    >>> found = place_matched_contrast(schema.with_shots(xr.concat(bare, "prompt"), plans))
    >>> bool((found.low < 2).all() and (found.high > 2).all())
    True
    """
    maps = mean_map(ds, over)
    mass = frame_mass_of(maps)
    if PROMPT not in mass.dims:
        raise InputError(
            expected=f"films along the dim {PROMPT}",
            got=f"dims {', '.join(map(str, mass.dims))}",
            where="in place_matched_contrast",
            remedy="give several films, it compares places between them",
        )
    shot = film_shots_of(maps, "place_matched_contrast")

    def measure(values: Mass, plans: Ints) -> tuple[Floats, ...]:
        return measure_films(values, plans, first_key_frame=first_key_frame, level=level)

    found: tuple[xr.DataArray, ...] = xr.apply_ufunc(
        measure,
        mass,
        shot,
        input_core_dims=[[PROMPT, QUERY_FRAME, KEY_FRAME], [PROMPT, QUERY_FRAME]],
        output_core_dims=[[], [], [], []],
    )
    return xr.Dataset(
        dict(zip(("contrast", "low", "high", "num"), found, strict=True)), attrs={"level": level}
    )
