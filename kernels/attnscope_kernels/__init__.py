"""Exact attention over groups of tokens: what each frame gives to each frame, and attention under a rule.

Standalone: needs torch, knows nothing of attnscope. Tensors are (batch, tokens, heads, head size); groups are
given as cumulative token counts.
"""

from __future__ import annotations

from ._relation import RelationError, check_relation
from ._select import Choice, select
from .attend import biased_attention
from .mass import FrameMass, frame_mass, token_mass
from .mass.torch import TokenMass

__all__ = [
    "Choice",
    "FrameMass",
    "RelationError",
    "TokenMass",
    "biased_attention",
    "check_relation",
    "frame_mass",
    "select",
    "token_mass",
]
