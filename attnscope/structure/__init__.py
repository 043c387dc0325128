"""Statistics of an attention dataset: what a model's attention does across shot cuts. No torch, no pictures.

Every function takes a dataset that obeys `attnscope.schema` with shots attached, for all prompts alike
(`query_shot` on `query_frame`) or one plan per prompt (`prompt, query_frame`), and returns labelled arrays with the
frame dims gone. The mathematics on plain arrays is in `attnscope.structure.arrays`.
"""

from attnscope.structure.contrasts import (
    contrast,
    first_frame_sink,
    lag_matched_contrast,
    own_shot_mass,
    pooled_contrast,
)
from attnscope.structure.correlations import combined_p, correlation
from attnscope.structure.cut_places import boundaries, boundary_error
from attnscope.structure.effects import causal_effect, effect_grid
from attnscope.structure.intervals import bootstrap, profile, wilson
from attnscope.structure.maps import mean_map
from attnscope.structure.overview import summary

__all__ = [
    "bootstrap",
    "boundaries",
    "boundary_error",
    "causal_effect",
    "combined_p",
    "contrast",
    "correlation",
    "effect_grid",
    "first_frame_sink",
    "lag_matched_contrast",
    "mean_map",
    "own_shot_mass",
    "pooled_contrast",
    "profile",
    "summary",
    "wilson",
]
