"""Controls for a mask: the same sparsity in another place, so that a result is the shots' and not the sparsity's."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from typing_extensions import override

from attnscope._types import Plan
from attnscope.checks import require_seed
from attnscope.errors import MaskError, quote
from attnscope.masks.compiling import compile_rule
from attnscope.masks.frame_rules import FrameRule
from attnscope.masks.rules import MaskRule, Relation, by_name, require_rule, to_relation
from attnscope.masks.shot_rules import require_plan
from attnscope.masks.sides import Group, Index, Sides
from attnscope.shots import LatentPlan, ShotPlan

_MOST_DRAWS = 100


@by_name
@dataclass(frozen=True)
class permuted(MaskRule):
    """Shuffle the frames of a rule: as many pairs stay visible, in groups that are scattered over the film.

    Orders are drawn until one makes a difference.
    """

    rule: MaskRule
    seed: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        require_rule(self.rule, "permuted")
        require_seed(self.seed, "in permuted", error=MaskError)

    @override
    def relation(self, sides: Sides) -> Relation:
        rng = np.random.default_rng(self.seed)
        plain = self.rule.relation(sides)
        for _ in range(_MOST_DRAWS):
            order = rng.permutation(sides.num_frames)
            moved = self.rule.relation(
                replace(sides, queries=_reorder(sides.queries, order), keys=_reorder(sides.keys, order))
            )
            if not np.array_equal(moved, plain, equal_nan=True):
                return moved
        raise MaskError(
            expected="a rule that tells frames apart",
            got=quote(self.rule.describe()),
            where="in permuted",
            remedy="any order of the frames gives the same",
        )

    @property
    @override
    def words(self) -> str:
        return f"({self.rule.words}) with the frames shuffled (seed {self.seed})"


def _reorder(groups: tuple[Group, ...], order: Index) -> tuple[Group, ...]:
    return tuple(
        Group("frame", int(order[group.index])) if group.kind == "frame" else group for group in groups
    )


@dataclass(frozen=True)
class EvenBand(FrameRule):
    """The ``num_pairs`` pairs of frames nearest to the diagonal: of the last diagonal as many as fit, spread evenly."""

    num_pairs: int

    @override
    def between(self, query: Index, key: Index, sides: Sides) -> Relation:
        size = sides.num_frames
        distance = np.abs(np.arange(size)[:, None] - np.arange(size)[None, :])
        visible = np.zeros((size, size), dtype=np.bool_)
        left = self.num_pairs
        for lag in range(size):
            places = np.argwhere(distance == lag)
            taken = places[
                np.unique(np.linspace(0, len(places) - 1, min(left, len(places))).round().astype(int))
            ]
            visible[tuple(taken.T)] = True
            left -= len(taken)
            if left <= 0:
                break
        return to_relation(visible[np.minimum(query, size - 1), np.minimum(key, size - 1)])

    @property
    @override
    def words(self) -> str:
        return f"the {self.num_pairs} pairs of frames that are nearest in time"


def equal_band(rule: MaskRule, num_frames: int, *, stride: int = 4) -> MaskRule:
    """Show as many pairs of frames as a rule does, but those that are nearest in time, whatever the shots.

    >>> from attnscope import ShotPlan
    >>> from attnscope.masks import same_shot
    >>> plan = ShotPlan.from_latent_frames([3], num_frames_latent=6, fps=16)
    >>> equal_band(same_shot(plan), 6).describe()
    'A frame sees the 18 pairs of frames that are nearest in time.'
    """
    relation = compile_rule(rule, Sides.of_frames(num_frames, stride=stride))
    return EvenBand(int((~np.isneginf(relation)).sum()))


def other_boundary(plan: Plan, *, stride: int = 4) -> LatentPlan:
    """Move the cuts of a plan together to where they are farthest from where they were: as many shots, elsewhere.

    >>> from attnscope import ShotPlan
    >>> other_boundary(ShotPlan.from_latent_frames([3], num_frames_latent=13, fps=16)).cuts
    (9,)

    Raises
    ------
    MaskError
        The plan has no cut, or a cut everywhere.
    """
    require_plan(plan, "other_boundary")
    latent = plan.to_latent(stride) if isinstance(plan, ShotPlan) else plan
    places = latent.num_frames - 1
    if not 0 < len(latent.cuts) < places:
        raise MaskError(
            expected="a plan with at least one cut and room to move it",
            got=latent.describe(),
            where="in other_boundary",
            remedy="give a longer video or fewer cuts",
        )
    moved = [
        tuple(sorted((cut - 1 + shift) % places + 1 for cut in latent.cuts)) for shift in range(1, places)
    ]
    cuts = max(moved, key=lambda candidate: _nearest(candidate, latent.cuts, places))
    return replace(latent, cuts=cuts, requested_frame=tuple(latent.first_frame(cut) for cut in cuts))


def _nearest(cuts: tuple[int, ...], others: tuple[int, ...], places: int) -> tuple[int, int]:
    """How far the cuts are from the others, the ends of the film counted as neighbours: the nearest pair, then all."""
    # on a circle, or a single cut would always go to an end of the film and leave a shot of one frame
    gaps = [min(min((cut - other) % places, (other - cut) % places) for other in others) for cut in cuts]
    return min(gaps), sum(gaps)
