"""Statistics of an attention dataset: what a model's attention does across shot cuts. No torch, no pictures.

Every function takes a dataset that obeys `attnscope.schema` with shots attached, for all prompts alike
(`query_shot` on `query_frame`) or one plan per prompt (`prompt, query_frame`), and returns labelled arrays with the
frame dims gone. Maps are averaged over steps and heads before they are measured, unless `over` says otherwise. The
mathematics on plain arrays is in `attnscope.structure.arrays`; `ds.attn` has the same functions at hand. How often each
p and each interval holds is in docs/calibration.md.
"""

from attnscope.structure.adjusting import adjusted_contrast, adjusted_r, place_matched_contrast
from attnscope.structure.choosing import best_on_other_films
from attnscope.structure.comparing import compare
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
from attnscope.structure.effects import causal_effect, effect_grid
from attnscope.structure.evidence import cut_test
from attnscope.structure.frames import to_frame
from attnscope.structure.intervals import (
    interval,
    mean_over,
    pooled_share_interval,
    profile,
    share_interval,
    wilson,
)
from attnscope.structure.maps import mean_map, with_cuts
from attnscope.structure.overview import summary
from attnscope.structure.ranking import rank_heads

__all__ = [
    "adjusted_contrast",
    "adjusted_r",
    "best_on_other_films",
    "boundaries",
    "boundary_error",
    "causal_effect",
    "compare",
    "contrast",
    "correlation",
    "cut_test",
    "distance_only_contrast",
    "effect_grid",
    "first_frame_sink",
    "interval",
    "lag_matched_contrast",
    "mean_map",
    "mean_over",
    "own_shot_mass",
    "place_matched_contrast",
    "pooled_contrast",
    "pooled_share_interval",
    "profile",
    "rank_heads",
    "share_interval",
    "summary",
    "to_frame",
    "wilson",
    "with_cuts",
]
