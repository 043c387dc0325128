"""The statistics of one store as they are reported: which, in which words, and how they run through the layers."""

from __future__ import annotations

from typing import cast

import xarray as xr

from attnscope._types import Document
from attnscope.schema import BRANCH, DONE, QUERY_SHOT
from attnscope.structure.adjusting import adjusted_r
from attnscope.structure.contrasts import contrast, distance_only_contrast
from attnscope.structure.correlations import correlation
from attnscope.structure.intervals import profile
from attnscope.structure.maps import mean_map
from attnscope.structure.overview import summary

LINES = (
    ("adjusted_contrast", "adjusted contrast: own shot / across, as far and as popular"),
    ("adjusted_r", "adjusted r: the same as a correlation"),
    ("place_matched_contrast", "contrast at the same places of other films"),
    ("p", "p: would other cuts fit as well?"),
    ("contrast", "contrast: intra-shot mass / inter-shot mass"),
    ("contrast_distance_only", "what distance alone makes of the contrast"),
    ("contrast_lag_matched", "contrast at equal frame distance"),
    ("own_shot_mass", "share of attention that stays in the shot"),
    ("pearson_r", "raw r of mass with same-shot, off-diagonal"),
    ("pearson_r_distance_removed", "r with the frame-distance profile removed"),
    ("first_frame_sink", "pull of the first frame (1 = none)"),
    ("boundary_recall_within_1", "cuts read from attention, within 1 latent frame"),
)
"""The numbers of `summary` that are printed, in this order, each with its words."""


def has_cuts(dataset: xr.Dataset) -> bool:
    """Say whether any film of a dataset is known to be cut."""
    return QUERY_SHOT in dataset.coords and bool((dataset[QUERY_SHOT].max() > 0).item())


def measure(dataset: xr.Dataset, *, branch: str) -> Document:
    """Compute the summary; where no shots are known the video counts as one shot, and what needs cuts is None."""
    if not bool((dataset.query_shot >= 0).any()):
        whole = {name: dataset[name] * 0 for name in ("query_shot", "key_shot")}
        dataset = dataset.assign_coords(whole)
    found: Document = dict(summary(dataset, branch=branch))
    notes = list(cast("list[str]", found["notes"]))
    if not has_cuts(dataset):
        notes = ["no cut is known, so there is nothing to measure against; give the shots with --shots"]
    done = dataset.coords.get(DONE)
    if done is not None and not bool(done.all()):
        num_done, num_units = int(done.sum()), int(done.size)
        notes.append(f"unfinished: {num_done} of {num_units} steps are there, and only those are measured")
    return {**found, "notes": notes}


def layer_curves(dataset: xr.Dataset, *, branch: str) -> dict[str, xr.Dataset]:
    """Contrast, what distance alone makes of it, and the correlations over layers, with their intervals."""
    maps = mean_map(dataset.sel({BRANCH: branch}))
    return {
        "contrast": profile(contrast(maps), scale="log", level=None),
        "distance_only": profile(distance_only_contrast(maps), scale="log", level=None),
        "correlation": profile(correlation(maps), level=None),
        "adjusted": profile(adjusted_r(maps), level=None),
    }
