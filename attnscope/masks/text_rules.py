"""Rules about text: which slab of the prompt belongs to which shot, what is padding, what stands for a transition.

Slab s is the caption of shot s; the slab behind the last shot, where there is one, is the general caption.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attnscope.masks.rules import MaskRule, Relation, shown
from attnscope.masks.shot_rules import Plan, latent_plan, require_plan, say_cuts, shot_of
from attnscope.masks.sides import Group, Kind, Sides
from attnscope.shots import LatentPlan

_TEXT: tuple[Kind, ...] = ("text", "padding")
_NOBODY = -1


@dataclass(frozen=True)
class OwnText(MaskRule):
    """Frames and the caption of their shot see each other; captions of different shots do not."""

    plan: Plan

    def __post_init__(self) -> None:
        require_plan(self.plan, "own_text")

    def relation(self, sides: Sides) -> Relation:
        """Show frames and slabs of one shot to each other; no opinion where no text takes part."""
        plan = latent_plan(self.plan, sides)
        query, key = _shots(sides.queries, plan), _shots(sides.keys, plan)
        return np.where(_with_text(sides), shown(np.asarray(np.equal.outer(query, key))), np.nan)

    @property
    def words(self) -> str:
        """Own caption."""
        return f"the caption of its own shot ({say_cuts(self.plan)})"


@dataclass(frozen=True)
class GeneralText(MaskRule):
    """Everybody sees the general caption."""

    plan: Plan

    def __post_init__(self) -> None:
        require_plan(self.plan, "general_text")

    def relation(self, sides: Sides) -> Relation:
        """Show the slab behind those of the shots, as key and as query; no opinion where no text takes part."""
        general = self.plan.num_shots
        rows, columns = (
            np.array([group.kind in _TEXT and group.index >= general for group in side])
            for side in (sides.queries, sides.keys)
        )
        return np.where(_with_text(sides), shown(np.asarray(np.logical_or.outer(rows, columns))), np.nan)

    @property
    def words(self) -> str:
        """The general caption."""
        return "the general caption"


@dataclass(frozen=True)
class PaddingText(MaskRule):
    """The padding behind the captions."""

    def relation(self, sides: Sides) -> Relation:
        """Show padding keys, hide text keys; no opinion on keys that are no text."""
        padding = sides.pairs(("frame", "text", "padding", "transition"), ("padding",))
        about = sides.pairs(("frame", "text", "padding", "transition"), _TEXT)
        return np.where(about, shown(padding), np.nan)

    @property
    def words(self) -> str:
        """The padding."""
        return "the padding of the captions"


@dataclass(frozen=True)
class Transitions(MaskRule):
    """A transition token and the two latent frames at its boundary see each other, and nobody else sees it."""

    plan: Plan

    def __post_init__(self) -> None:
        require_plan(self.plan, "transitions")

    def relation(self, sides: Sides) -> Relation:
        """Show transition b to the frames before and behind cut b; no opinion where no transition takes part."""
        plan = latent_plan(self.plan, sides)
        rows, columns = _at_boundary(sides.queries, plan), _at_boundary(sides.keys, plan)
        # two groups touch where they stand at the same boundary: the token at its own, a frame at those next to it
        touching = np.asarray((rows[:, None, :] & columns[None, :, :]).any(-1))
        transition = sides.pairs(("transition",), ("frame", "text", "padding", "transition"))
        transition = transition | sides.pairs(("frame", "text", "padding", "transition"), ("transition",))
        return np.where(transition, shown(touching), np.nan)

    @property
    def words(self) -> str:
        """The tokens of its boundaries."""
        return f"the transition token of the boundary it stands at ({say_cuts(self.plan)})"


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


def own_text(plan: Plan) -> MaskRule:
    """Let every frame read the caption of its own shot only, its padding included.

    >>> from attnscope.masks import Sides, compile_rule
    >>> from attnscope.shots import ShotPlan
    >>> plan = ShotPlan.from_latent_frames([1], num_frames_latent=2, fps=16)
    >>> compile_rule(own_text(plan), Sides.of_text(2, num_slabs=2)).tolist()
    [[0.0, 0.0, -inf, -inf], [-inf, -inf, 0.0, 0.0]]
    """
    return OwnText(plan)


def general_text(plan: Plan) -> MaskRule:
    """Let every frame read the general caption, the slab behind those of the shots."""
    return GeneralText(plan)


def padding_text() -> MaskRule:
    """Let every frame read the padding behind captions; ``& ~padding_text()`` hides it."""
    return PaddingText()


def transitions(plan: Plan) -> MaskRule:
    """Let the transition token of a boundary and the frames beside that boundary see each other (ShotAdapter)."""
    return Transitions(plan)
