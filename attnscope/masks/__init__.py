"""Who may look at whom across shot cuts: rules as data, put together with ``|``, ``&``, ``+``, ``~``.

>>> from attnscope import ShotPlan, masks
>>> plan = ShotPlan.from_seconds([2.5], duration=5.0, fps=16)
>>> rule = masks.same_shot(plan) | masks.first_frame()
>>> print(rule.describe())
A frame sees its own shot (cut at video frame 40), or the first latent frame of the video.
>>> masks.compile_rule(rule, masks.Sides.of_frames(21)).shape
(21, 21)
"""

from __future__ import annotations

from attnscope.masks.blocks import BlockMask, block_mask
from attnscope.masks.compiling import Extent, compile_rule, extent
from attnscope.masks.controls import equal_band, other_boundary, permuted
from attnscope.masks.expressions import parse_rule
from attnscope.masks.files import load_interventions, save_interventions
from attnscope.masks.frame_rules import band, decay, everything, first_frame, from_array, sampled
from attnscope.masks.interventions import Intervention
from attnscope.masks.presets import list_presets, preset
from attnscope.masks.rebinding import rebind
from attnscope.masks.rules import MaskRule, Ramp
from attnscope.masks.shot_rules import (
    anchors,
    fade,
    halo,
    next_shot,
    previous_shot,
    same_shot,
    shot_causal,
    shot_starts,
    together,
)
from attnscope.masks.sides import Group, Sides
from attnscope.masks.text_rules import general_text, own_text, padding_text, transitions

__all__ = [
    "BlockMask",
    "Extent",
    "Group",
    "Intervention",
    "MaskRule",
    "Ramp",
    "Sides",
    "anchors",
    "band",
    "block_mask",
    "compile_rule",
    "decay",
    "equal_band",
    "everything",
    "extent",
    "fade",
    "first_frame",
    "from_array",
    "general_text",
    "halo",
    "list_presets",
    "load_interventions",
    "next_shot",
    "other_boundary",
    "own_text",
    "padding_text",
    "parse_rule",
    "permuted",
    "preset",
    "previous_shot",
    "rebind",
    "same_shot",
    "sampled",
    "save_interventions",
    "shot_causal",
    "shot_starts",
    "together",
    "transitions",
]
