"""The numbers of one store on one page."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import xarray as xr

from attnscope.errors import InputError
from attnscope.schema import BRANCH, HEAD, LAYER, PROMPT, STEP
from attnscope.structure.contrasts import (
    contrast,
    first_frame_sink,
    lag_matched_contrast,
    own_shot_mass,
    pooled_contrast,
)
from attnscope.structure.correlations import combined_p, correlation
from attnscope.structure.cut_places import boundaries, boundary_error
from attnscope.structure.intervals import bootstrap
from attnscope.structure.maps import cuts_of, mean_map

Number: TypeAlias = float | None
Summary: TypeAlias = dict[str, Number | str | list[str] | list[Number] | dict[int, Number]]


def summary(ds: xr.Dataset, *, branch: str = "cond", seed: int = 0) -> Summary:
    """Put what attention does across the cuts into a dozen plain numbers.

    Averaged before measuring: maps over heads and denoising steps, and over all layers of `ds` for the headline
    numbers (the `_by_layer` ones keep layers apart; keys are layer labels). Averaged after measuring: prompts, one
    value each, with a bootstrap 95 % range in `..._ci` ([None, None] for one prompt). `contrast_pooled` averages
    nothing first (ratio of means over all maps), `contrast_mean_of_ratios` is the mean over all recorded maps.
    Correlations leave out the diagonal; their p is exact for one prompt, drawn for more (see `combined_p`), and
    `pearson_p_smallest` is the least it could have been. `boundary_recall` is for as many peaks as the plan has cuts,
    on the exact latent frame; `boundary_recall_within_1` allows one; `boundary_precision` is for places above the
    threshold; `boundary_distance_frame` is the mean distance of the former from the cuts, in latent frames.

    Values are plain floats, ready for JSON; None where undefined (single-shot videos) or infinite (nothing crosses a
    cut); `notes` says which in words.

    Raises: InputError (no such branch), SchemaError, ShotPlanError.

    >>> from attnscope import synthetic
    >>> from attnscope.shots import ShotPlan
    >>> plan = ShotPlan.from_latent_frames([3], num_frames_latent=6, fps=16).to_latent()
    >>> numbers = summary(synthetic.block_attention(plan, contrast=10.0))
    >>> round(numbers["contrast"], 3), numbers["boundary_recall"]
    (10.0, 1.0)
    """
    one = _branch(ds, branch)
    by_layer = mean_map(one)
    overall = mean_map(by_layer, LAYER)
    result: Summary = {
        "averaged_over": "heads and steps, then layers, on the map; then prompts",
        "branch": branch,
        "num_prompts": float(_size(one, PROMPT)),
        "num_single_shot": float((cuts_of(one).sum("boundary") == 0).sum()),
    }
    result |= _contrasts(one, by_layer, overall, seed)
    result |= _correlations(by_layer, overall, seed)
    result |= _boundaries(overall)
    result["notes"] = _notes(by_layer)
    return result


def _branch(ds: xr.Dataset, branch: str) -> xr.Dataset:
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


def _size(ds: xr.Dataset, dim: str) -> int:
    return int(ds.sizes.get(dim, 1))


def _plain(value: xr.DataArray | float) -> Number:
    number = float(value)
    return number if np.isfinite(number) else None


def _mean(values: xr.DataArray) -> Number:
    """Average over prompts; videos without a value are left out."""
    return _plain(values.mean(skipna=True))


def _layers(values: xr.DataArray) -> dict[int, Number]:
    along = values if LAYER in values.dims else values.expand_dims(LAYER)
    kept = along.mean([name for name in along.dims if name != LAYER], skipna=True)
    return {int(layer): _plain(kept.sel({LAYER: layer})) for layer in kept[LAYER].values}


def _interval(values: xr.DataArray, seed: int) -> list[Number]:
    if PROMPT not in values.dims or not np.isfinite(values).any():
        return [None, None]
    return [_plain(end) for end in bootstrap(values.where(np.isfinite(values)), seed=seed)]


def _contrasts(one: xr.Dataset, by_layer: xr.Dataset, overall: xr.Dataset, seed: int) -> Summary:
    headline = contrast(overall)
    return {
        "contrast": _mean(headline),
        "contrast_ci": _interval(headline, seed),
        "contrast_no_diagonal": _mean(contrast(overall, diagonal=False)),
        "contrast_no_first_key_frame": _mean(contrast(overall, first_key_frame=False)),
        "contrast_lag_matched": _mean(lag_matched_contrast(overall)),
        "contrast_pooled": _mean(pooled_contrast(one, (PROMPT, STEP, LAYER, HEAD))),
        "contrast_mean_of_ratios": _mean(contrast(one)),
        "contrast_by_layer": _layers(contrast(by_layer)),
        "contrast_lag_matched_by_layer": _layers(lag_matched_contrast(by_layer)),
        "own_shot_mass": _mean(own_shot_mass(overall)),
        "own_shot_mass_by_layer": _layers(own_shot_mass(by_layer)),
        "first_frame_sink": _mean(first_frame_sink(overall)),
        "first_frame_sink_by_layer": _layers(first_frame_sink(by_layer)),
    }


def _correlations(by_layer: xr.Dataset, overall: xr.Dataset, seed: int) -> Summary:
    result: Summary = {}
    for removed, ending in ((False, ""), (True, "_distance_removed")):
        found = correlation(overall, distance_removed=removed)
        p = combined_p(found, seed=seed) if PROMPT in found["r"].dims else found["p"]
        result[f"pearson_r{ending}"] = _mean(found["r"])
        result[f"pearson_r{ending}_ci"] = _interval(found["r"], seed)
        result[f"pearson_p{ending}"] = _plain(p)
        result[f"pearson_null_mean{ending}"] = _mean(found["null"])
        result[f"pearson_r{ending}_by_layer"] = _layers(correlation(by_layer, distance_removed=removed)["r"])
    num_usable = int(found["r"].notnull().sum())
    smallest: float = found.attrs["smallest_p"]
    result["pearson_p_smallest"] = smallest if num_usable <= 1 else max(smallest**num_usable, 1 / 10000)
    return result


def _boundaries(overall: xr.Dataset) -> Summary:
    asked = boundaries(overall, num="known")
    anywhere = boundary_error(asked, overall, tolerance_frame=float("inf"))
    return {
        "boundary_recall": _mean(boundary_error(asked, overall)["recall"]),
        "boundary_recall_within_1": _mean(boundary_error(asked, overall, tolerance_frame=1)["recall"]),
        "boundary_precision": _mean(boundary_error(boundaries(overall), overall)["precision"]),
        "boundary_offset_frame": _mean(anywhere["offset_frame"]),
        "boundary_distance_frame": _mean(anywhere["distance_frame"]),
    }


def _notes(by_layer: xr.Dataset) -> list[str]:
    notes = []
    values = contrast(by_layer)
    infinite = values.copy(data=np.isinf(values.values))
    if bool(infinite.any()):
        layers = infinite.any([name for name in infinite.dims if name != LAYER])
        labels = np.atleast_1d(values[LAYER].values)[np.atleast_1d(layers.values)]
        shown = ", ".join(str(label) for label in labels)
        notes.append(f"no mass crosses a cut in layers {shown}: contrast is infinite there, shown as None")
    num_single = int((cuts_of(by_layer).sum("boundary") == 0).sum())
    if num_single:
        notes.append(
            f"{num_single} video(s) have a single shot or no plan and are left out of every contrast and r"
        )
    return notes
