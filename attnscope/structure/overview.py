"""The numbers of one store on one page."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import xarray as xr

from attnscope.schema import HEAD, LAYER, PROMPT, STEP
from attnscope.structure.adjusting import adjusted_contrast, adjusted_r, place_matched_contrast
from attnscope.structure.contrasts import (
    contrast,
    distance_only_contrast,
    first_frame_sink,
    lag_matched_contrast,
    own_shot_mass,
    pooled_contrast,
)
from attnscope.structure.correlations import correlation
from attnscope.structure.cut_places import boundaries, boundary_error
from attnscope.structure.evidence import cut_test
from attnscope.structure.intervals import Scale, interval, mean_over
from attnscope.structure.maps import branch_of, cuts_of, mean_map, require_known_dims

Measured: TypeAlias = float | None
Summary: TypeAlias = dict[str, Measured | str | list[str] | list[Measured] | dict[int, Measured]]


def summary(ds: xr.Dataset, *, branch: str = "cond", seed: int = 0) -> Summary:
    """Put what attention does across the cuts into two dozen plain numbers; the command line prints the same.

    Averaged before measuring: maps over heads and denoising steps, and over all layers of `ds` for the headline
    numbers (the `_by_layer` ones keep layers apart; keys are layer labels). Averaged after measuring: prompts, ratios
    as their logarithms. The two contrasts whose intervals hold (docs/calibration.md) have one, of 95 %, in `..._ci`:
    [None, None] below three prompts.

    The headline is `adjusted_contrast` and `adjusted_r` (distance and popularity of frames taken out; also with frame
    0 always in, `..._all_frames`, and always out, `..._no_first_key_frame`), `place_matched_contrast` (places compared
    between films; None for fewer than two films with different cuts), and `p` of `cut_test`, or None with the reason
    in `p_reason`. Beside them, named as what they are: `contrast` with `contrast_distance_only`, what locality alone
    would make of it; `pearson_r`, raw, and `pearson_r_distance_removed`. `contrast_pooled` averages nothing first
    (ratio of means over all maps), `contrast_mean_of_ratios` is the mean over all recorded maps.
    `boundary_recall` is for as many peaks as the plan has cuts, on the exact latent frame; `boundary_recall_within_1`
    allows one; `boundary_precision` is for places above the threshold; `boundary_distance_frame` is the mean distance
    of the former from the cuts, in latent frames.

    Values are plain floats, ready for JSON; None where undefined (single-shot videos) or infinite (nothing crosses a
    cut); `notes` says which in words.

    Raises
    ------
    InputError
        The branch was not recorded, or there is a dim that the schema has not.
    SchemaError
        The dataset lacks frame maps.
    ShotPlanError
        No video has a plan.

    Examples
    --------
    >>> from attnscope import synthetic
    >>> numbers = summary(synthetic.example(contrast=10.0))
    >>> round(numbers["adjusted_contrast"], 3), round(numbers["contrast"], 3), numbers["p"], numbers["boundary_recall"]
    (10.0, 10.0, None, 1.0)
    """
    require_known_dims(ds, "summary")
    one = branch_of(ds, branch)
    by_layer = mean_map(one)
    overall = mean_map(by_layer, LAYER)
    result: Summary = {
        "averaged_over": "heads and steps, then layers, on the map; then prompts, ratios as logarithms",
        "branch": branch,
        "num_prompts": float(_size(one, PROMPT)),
        "num_single_shot": float((cuts_of(one).sum("boundary") == 0).sum()),
    }
    result |= _adjusted_measures(by_layer, overall)
    result |= _evidence(overall, seed)
    result |= _contrasts(one, by_layer, overall)
    result |= _correlations(by_layer, overall)
    result |= _boundaries(overall)
    result["notes"] = _notes(by_layer, overall)
    return result


def _size(ds: xr.Dataset, dim: str) -> int:
    return int(ds.sizes.get(dim, 1))


def _plain(value: xr.DataArray | float) -> Measured:
    number = float(value if isinstance(value, float) else value.squeeze())
    return number if np.isfinite(number) else None


def _mean(values: xr.DataArray, scale: Scale = "linear") -> Measured:
    """Average over prompts; videos without a value are left out."""
    return _plain(mean_over(values, scale=scale) if PROMPT in values.dims else values)


def _layers(values: xr.DataArray, scale: Scale = "linear") -> dict[int, Measured]:
    along = values if LAYER in values.dims else values.expand_dims(LAYER)
    kept = mean_over(along, scale=scale) if PROMPT in along.dims else along
    return {int(layer): _plain(kept.sel({LAYER: layer})) for layer in kept[LAYER].values}


def _interval(values: xr.DataArray, scale: Scale) -> list[Measured]:
    if PROMPT not in values.dims:
        return [None, None]
    return [_plain(end) for end in interval(values.where(np.isfinite(values)), scale=scale)]


def _adjusted_measures(by_layer: xr.Dataset, overall: xr.Dataset) -> Summary:
    headline, r = adjusted_contrast(overall), adjusted_r(overall)
    result: Summary = {
        "adjusted_contrast": _mean(headline, "log"),
        "adjusted_contrast_ci": _interval(headline, "log"),
        "adjusted_contrast_all_frames": _mean(adjusted_contrast(overall, first_key_frame=True), "log"),
        "adjusted_contrast_no_first_key_frame": _mean(
            adjusted_contrast(overall, first_key_frame=False), "log"
        ),
        "adjusted_contrast_by_layer": _layers(adjusted_contrast(by_layer), "log"),
        "adjusted_r": _mean(r),
        "adjusted_r_by_layer": _layers(adjusted_r(by_layer)),
    }
    matched: list[Measured] = [None, None, None]
    if PROMPT in overall.dims:
        found = place_matched_contrast(overall)
        matched = [_plain(found[name]) for name in ("contrast", "low", "high")]
    return result | {"place_matched_contrast": matched[0], "place_matched_contrast_ci": matched[1:]}


def _evidence(overall: xr.Dataset, seed: int) -> Summary:
    found = cut_test(overall, seed=seed)
    given = found.attrs["null"] != "none"
    return {
        "p": _plain(found["p"]),
        "p_null": str(found.attrs["null"]),
        "p_smallest": float(found.attrs["smallest_p"]) if given else None,
        "p_reason": str(found.attrs["reason"]),
        "p_num_films_needed": None if given else float(found.attrs["num_films_needed"]),
    }


def _contrasts(one: xr.Dataset, by_layer: xr.Dataset, overall: xr.Dataset) -> Summary:
    headline = contrast(overall)
    return {
        "contrast": _mean(headline, "log"),
        "contrast_distance_only": _mean(distance_only_contrast(overall), "log"),
        "contrast_no_diagonal": _mean(contrast(overall, diagonal=False), "log"),
        "contrast_no_first_key_frame": _mean(contrast(overall, first_key_frame=False), "log"),
        "contrast_lag_matched": _mean(lag_matched_contrast(overall), "log"),
        "contrast_pooled": _mean(pooled_contrast(one, (PROMPT, STEP, LAYER, HEAD))),
        "contrast_mean_of_ratios": _plain(contrast(one, over=()).mean(skipna=True)),
        "contrast_by_layer": _layers(contrast(by_layer), "log"),
        "contrast_distance_only_by_layer": _layers(distance_only_contrast(by_layer), "log"),
        "contrast_lag_matched_by_layer": _layers(lag_matched_contrast(by_layer), "log"),
        "own_shot_mass": _mean(own_shot_mass(overall)),
        "own_shot_mass_by_layer": _layers(own_shot_mass(by_layer)),
        "first_frame_sink": _mean(first_frame_sink(overall)),
        "first_frame_sink_by_layer": _layers(first_frame_sink(by_layer)),
    }


def _correlations(by_layer: xr.Dataset, overall: xr.Dataset) -> Summary:
    result: Summary = {}
    for removed, ending in ((False, ""), (True, "_distance_removed")):
        r = correlation(overall, distance_removed=removed)
        result[f"pearson_r{ending}"] = _mean(r)
        result[f"pearson_r{ending}_by_layer"] = _layers(correlation(by_layer, distance_removed=removed))
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


def _notes(by_layer: xr.Dataset, overall: xr.Dataset) -> list[str]:
    notes = []
    num_empty = adjusted_contrast(overall).attrs["num_pairs_without_mass"]
    if num_empty:
        notes.append(
            f"{num_empty} pair(s) of frames have no mass and are left out of adjusted contrast and r"
        )
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
