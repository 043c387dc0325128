"""Rules about text: which slab of the prompt belongs to which shot, what is padding, what stands for a transition.

Slab s is the caption of shot s; the slab behind the last shot, where there is one, is the general caption.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from attnscope.masks.rules import MaskRule, Relation, by_name, to_relation
from attnscope.masks.shot_rules import Planned, shot_of
from attnscope.masks.sides import Group, Kind, Sides
from attnscope.shots import LatentPlan

_TEXT: tuple[Kind, ...] = ("text", "padding")
_ALL: tuple[Kind, ...] = ("frame", *_TEXT, "transition")
_NOBODY = -1


@by_name
@dataclass(frozen=True)
class own_text(Planned):
    """Let every frame read the caption of its own shot only, its padding included.

    >>> from attnscope.masks import Sides, compile_rule
    >>> from attnscope.shots import ShotPlan
    >>> plan = ShotPlan.from_latent_frames([1], num_frames_latent=2, fps=16)
    >>> compile_rule(own_text(plan), Sides.of_text(2, num_slabs=2)).tolist()
    [[0.0, 0.0, -inf, -inf], [-inf, -inf, 0.0, 0.0]]
    """

    @override
    def relation(self, sides: Sides) -> Relation:
        plan = self.plan_on(sides)
        query, key = _shots(sides.queries, plan), _shots(sides.keys, plan)
        return np.where(_with_text(sides), to_relation(np.asarray(np.equal.outer(query, key))), np.nan)

    @property
    @override
    def words(self) -> str:
        return f"the caption of its own shot {self.cuts_words}"


@by_name
@dataclass(frozen=True)
class general_text(Planned):
    """Let every frame read the general caption, the slab behind those of the shots."""

    @override
    def relation(self, sides: Sides) -> Relation:
        general = self.plan.num_shots
        rows, columns = (
            np.array([group.kind in _TEXT and group.index >= general for group in side])
            for side in (sides.queries, sides.keys)
        )
        return np.where(
            _with_text(sides), to_relation(np.asarray(np.logical_or.outer(rows, columns))), np.nan
        )

    @property
    @override
    def words(self) -> str:
        return "the general caption"


@by_name
@dataclass(frozen=True)
class padding_text(MaskRule):
    """Let every frame read the padding behind captions; ``& ~padding_text()`` hides it."""

    @override
    def relation(self, sides: Sides) -> Relation:
        return np.where(sides.pairs(_ALL, _TEXT), to_relation(sides.pairs(_ALL, ("padding",))), np.nan)

    @property
    @override
    def words(self) -> str:
        return "the padding of the captions"


@by_name
@dataclass(frozen=True)
class transitions(Planned):
    """Let the transition token of a boundary and the frames beside it see each other, nobody else (ShotAdapter)."""

    @override
    def relation(self, sides: Sides) -> Relation:
        plan = self.plan_on(sides)
        rows, columns = _at_boundary(sides.queries, plan), _at_boundary(sides.keys, plan)
        # two groups touch where they stand at the same boundary: the token at its own, a frame at those next to it
        touching = np.asarray((rows[:, None, :] & columns[None, :, :]).any(-1))
        concerned = sides.pairs(("transition",), _ALL) | sides.pairs(_ALL, ("transition",))
        return np.where(concerned, to_relation(touching), np.nan)

    @property
    @override
    def words(self) -> str:
        return f"the transition token of the boundary it stands at {self.cuts_words}"


def _with_text(sides: Sides) -> NDArray[np.bool_]:
    others: tuple[Kind, ...] = ("frame", *_TEXT)
    return sides.pairs(_TEXT, others) | sides.pairs(others, _TEXT)


def _shots(groups: tuple[Group, ...], plan: LatentPlan) -> NDArray[np.int64]:
    """The shot that each group belongs to, -1 for what belongs to none."""
    found = np.full(len(groups), _NOBODY)
    for place, group in enumerate(groups):
        if group.kind == "frame":
            found[place] = shot_of(plan, np.array(group.index))
        elif group.kind in _TEXT:
            # the general slab is a shot of its own here: it sees itself
            found[place] = group.index
    return found


def _at_boundary(groups: tuple[Group, ...], plan: LatentPlan) -> NDArray[np.bool_]:
    """Which boundaries each group stands at: (groups, cuts)."""
    cuts = np.asarray(plan.cuts, dtype=np.int64)
    found = np.zeros((len(groups), len(cuts)), dtype=np.bool_)
    for place, group in enumerate(groups):
        if group.kind == "frame":
            found[place] = (group.index == cuts - 1) | (group.index == cuts)
        elif group.kind == "transition":
            found[place] = np.arange(len(cuts)) == group.index
    return found
