"""Exact attention over groups of tokens: what each frame gives to each frame, and attention under a rule.

Standalone: needs torch, knows nothing of attnscope. Tensors are (batch, tokens, heads, head size); groups are
given as cumulative token counts.
"""

from __future__ import annotations

from ._chunked import TokenMass
from ._dense import dense_scores
from ._device_table import DeviceTable, Rates, Timing, read_table
from ._groups import group_of_token, mean_over_rows, sum_over_groups
from ._relation import RelationError, check_relation
from ._select import Choice, select_attention, select_mass
from .attend import shot_attention
from .gate import Fault, find_faults
from .mass import FrameMass, frame_mass, token_mass
from .mass.sampled import SampledMass, sampled_frame_mass
from .measuring import measure_device

__all__ = [
    "Choice",
    "DeviceTable",
    "Fault",
    "FrameMass",
    "Rates",
    "RelationError",
    "SampledMass",
    "Timing",
    "TokenMass",
    "check_relation",
    "dense_scores",
    "find_faults",
    "frame_mass",
    "group_of_token",
    "mean_over_rows",
    "measure_device",
    "read_table",
    "sampled_frame_mass",
    "select_attention",
    "select_mass",
    "shot_attention",
    "sum_over_groups",
    "token_mass",
]
