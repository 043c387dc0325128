"""Exact attention over groups of tokens: what each frame gives to each frame, and attention under a rule.

Standalone: needs torch, knows nothing of attnscope. Tensors are (batch, tokens, heads, head size); groups are
given as cumulative token counts.
"""

from __future__ import annotations

from ._chunked import TokenMass
from ._dense import dense_scores
from ._groups import group_of_token, mean_over_rows, sum_over_groups
from ._relation import RelationError, check_relation
from ._select import Choice, select_attention, select_mass
from .attend import shot_attention
from .mass import FrameMass, frame_mass, token_mass
from .mass.sampled import SampledMass, sampled_frame_mass

__all__ = [
    "Choice",
    "FrameMass",
    "RelationError",
    "SampledMass",
    "TokenMass",
    "check_relation",
    "dense_scores",
    "frame_mass",
    "group_of_token",
    "mean_over_rows",
    "sampled_frame_mass",
    "select_attention",
    "select_mass",
    "shot_attention",
    "sum_over_groups",
    "token_mass",
]
