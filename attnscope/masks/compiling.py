"""From a rule to the numbers that an attention call takes, and how much of the attention is left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attnscope.errors import MaskError, quote
from attnscope.masks.rules import MaskRule, Relation, require_rule
from attnscope.masks.sides import Sides


def compile_rule(rule: MaskRule, sides: Sides) -> Relation:
    """Write a rule down as numbers for one attention call: who may look at whom, and how strongly.

    The result is the frame relation of :func:`attnscope_kernels.shot_attention`: float64 (query groups, key groups),
    0 visible, -inf hidden, other numbers are added to the scores. What no part of the rule speaks of is visible.

    Raises
    ------
    MaskError
        A query group would see nothing at all, or the rule does not fit the video.

    Examples
    --------
    >>> from attnscope.masks import band
    >>> compile_rule(band(1), Sides.of_frames(3)).tolist()
    [[0.0, 0.0, -inf], [0.0, 0.0, 0.0], [-inf, 0.0, 0.0]]
    """
    values = require_rule(rule, "compile_rule").relation(sides)
    relation = np.where(np.isnan(values), 0.0, values).astype(np.float64)
    blind = np.flatnonzero(np.isneginf(relation).all(axis=1))
    if blind.size:
        group = sides.queries[int(blind[0])]
        raise MaskError(
            expected="a rule that lets every group see something",
            got=f"{group.kind} {group.index} that sees nothing",
            where=f"in {quote(rule.describe(), 120)}",
            remedy="join it with a rule that shows the frame itself, as same_shot",
        )
    return relation


@dataclass(frozen=True)
class Extent:
    """How much of the attention a rule leaves: pairs of tokens that are still weighed, out of all.

    ``relation_bytes`` is what the rule needs in memory (8 bytes a pair of groups), ``dense_bytes`` what the same mask
    would need as one byte for each pair of tokens.
    """

    visible_pairs: int
    all_pairs: int
    relation_bytes: int
    dense_bytes: int

    @property
    def visible_fraction(self) -> float:
        """Share of pairs that are still weighed."""
        return self.visible_pairs / self.all_pairs

    def describe(self) -> str:
        """Say it in one line."""
        return (
            f"{self.visible_pairs:,} of {self.all_pairs:,} token pairs visible ({100 * self.visible_fraction:.1f}%); "
            f"{self.relation_bytes:,} bytes instead of {self.dense_bytes:,}"
        )


def extent(rule: MaskRule, sides: Sides, *, tokens: int | Sequence[int] = 1) -> Extent:
    """Count exactly how many pairs of tokens a rule leaves visible, and what the rule weighs in memory.

    Softly hidden pairs count as visible: they are computed. ``tokens`` is the number of tokens of a group, or one
    number for each group on a side of frames looking at frames.

    >>> from attnscope import ShotPlan
    >>> from attnscope.masks import first_frame, same_shot
    >>> plan = ShotPlan.from_latent_frames([11], num_frames_latent=21, fps=16)
    >>> extent(same_shot(plan), Sides.of_frames(21), tokens=1560).describe()
    '537,825,600 of 1,073,217,600 token pairs visible (50.1%); 3,528 bytes instead of 1,073,217,600'
    >>> round(extent(same_shot(plan) | first_frame(), Sides.of_frames(21)).visible_fraction, 3)
    0.524
    """
    visible = ~np.isneginf(compile_rule(rule, sides))
    rows, columns = (count_tokens(tokens, count) for count in sides.shape)
    everything = int(rows.sum() * columns.sum())
    return Extent(int(rows @ visible @ columns), everything, 8 * math.prod(sides.shape), everything)


def count_tokens(tokens: int | Sequence[int], num_groups: int) -> NDArray[np.int64]:
    """Give the tokens of each group on one side.

    Raises
    ------
    MaskError
        Not one number a group, or a group without tokens.

    Examples
    --------
    >>> count_tokens(1560, 3).tolist()
    [1560, 1560, 1560]
    """
    counted = [tokens] * num_groups if isinstance(tokens, int) else list(tokens)
    if len(counted) != num_groups or min(counted, default=0) < 1:
        raise MaskError(
            expected=f"at least 1 token for each of {num_groups} groups",
            got=quote(tokens),
            where="as tokens",
            remedy="give one number, or one a group",
        )
    return np.asarray(counted, dtype=np.int64)
