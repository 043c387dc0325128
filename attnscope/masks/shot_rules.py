"""Rules that know the shots: same shot, the shot before, the boundary that opens slowly, the first frames of shots."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from attnscope._types import Plan
from attnscope.checks import is_whole, require_multiplicity, require_whole
from attnscope.errors import MaskError, quote
from attnscope.masks.rules import MaskRule, Relation, Shown, by_name, to_relation
from attnscope.masks.sides import Index, Sides
from attnscope.shots import LatentPlan, ShotPlan


@dataclass(frozen=True)
class Planned(MaskRule):
    """A rule that depends on the shots of a film."""

    plan: Plan

    def __post_init__(self) -> None:
        require_plan(self.plan, type(self).__name__)

    def plan_on(self, sides: Sides) -> LatentPlan:
        """Bring the plan to the latent frames of an attention call.

        Raises
        ------
        MaskError
            The plan has another number of latent frames than the video.
        """
        latent = self.plan.to_latent(sides.stride) if isinstance(self.plan, ShotPlan) else self.plan
        if latent.num_frames != sides.num_frames:
            raise MaskError(
                expected=f"a plan of {sides.num_frames} latent frames, as the video has",
                got=f"one of {latent.num_frames}",
                where="in a mask rule",
                remedy=f"plan the video that is made, with the model's temporal stride, {sides.stride}",
            )
        return latent

    @property
    def cuts_words(self) -> str:
        """Where the cuts are, in brackets."""
        plan = self.plan
        unit, cuts = ("video", plan.cuts_frame) if isinstance(plan, ShotPlan) else ("latent", plan.cuts)
        if not cuts:
            return "(one shot)"
        return f"(cut{'s' if len(cuts) > 1 else ''} at {unit} frame {', '.join(map(str, cuts))})"


class ShotRule(Planned):
    """A rule over pairs of latent frames that depends on their shots; it has no opinion on text."""

    @override
    def relation(self, sides: Sides) -> Relation:
        return on_frames(sides, self.between(sides.query_index, sides.key_index, self.plan_on(sides)))

    @abstractmethod
    def between(self, query: Index, key: Index, plan: LatentPlan) -> Relation:
        """Return the number for latent frames ``query`` (rows) and ``key`` (columns)."""


def require_plan(plan: object, where: str) -> None:
    """Refuse what is no plan of shots."""
    if not isinstance(plan, ShotPlan | LatentPlan):
        raise MaskError(
            expected="a ShotPlan for this rule",
            got=quote(plan),
            where=f"in {where}",
            remedy="make one with ShotPlan.from_seconds",
        )


def require_frames(count: object, least: int, where: str) -> None:
    """Refuse what is no number of frames."""
    expected = f"a whole number of latent frames from {least}"
    require_whole(count, expected, f"in {where}", least=least, most=10**6, error=MaskError)


def on_frames(sides: Sides, values: Relation) -> Relation:
    """Keep the numbers of frame pairs; there is no opinion on others."""
    return np.where(sides.pairs(["frame"], ["frame"]), values, np.nan)


def shot_of(plan: LatentPlan, frame: Index) -> NDArray[np.int64]:
    """Return the shot of each latent frame; what is no frame of the plan is clipped to its ends."""
    return plan.shot_of_frame[np.clip(frame, 0, plan.num_frames - 1)]


def say_times(multiplicity: float) -> str:
    """Write how often something counts, if not once."""
    return "" if multiplicity == 1 else f", counted {multiplicity:g} times"


def say_frames(count: int) -> str:
    """Write how many latent frames."""
    return "latent frame" if count == 1 else f"{count} latent frames"


@by_name
@dataclass(frozen=True)
class same_shot(ShotRule):
    """Let every frame see its own shot and nothing else: the block-diagonal mask of CineTrans.

    >>> from attnscope.masks import Sides, compile_rule
    >>> plan = ShotPlan.from_latent_frames([2], num_frames_latent=3, fps=16)
    >>> compile_rule(same_shot(plan), Sides.of_frames(3)).tolist()
    [[0.0, 0.0, -inf], [0.0, 0.0, -inf], [-inf, -inf, 0.0]]
    """

    @override
    def between(self, query: Index, key: Index, plan: LatentPlan) -> Relation:
        return to_relation(shot_of(plan, query) == shot_of(plan, key))

    @property
    @override
    def words(self) -> str:
        return f"its own shot {self.cuts_words}"


@by_name
@dataclass(frozen=True)
class previous_shot(ShotRule):
    """Let every frame see the shot before its own; join it with :class:`same_shot`, or shot 0 sees nothing."""

    @override
    def between(self, query: Index, key: Index, plan: LatentPlan) -> Relation:
        return to_relation(shot_of(plan, key) == shot_of(plan, query) - 1)

    @property
    @override
    def words(self) -> str:
        return f"the shot before its own {self.cuts_words}"


@by_name
@dataclass(frozen=True)
class next_shot(ShotRule):
    """Let every frame see the shot after its own; join it with :class:`same_shot`, or the last shot sees nothing."""

    @override
    def between(self, query: Index, key: Index, plan: LatentPlan) -> Relation:
        return to_relation(shot_of(plan, key) == shot_of(plan, query) + 1)

    @property
    @override
    def words(self) -> str:
        return f"the shot after its own {self.cuts_words}"


@by_name
@dataclass(frozen=True)
class shot_causal(ShotRule):
    """Let every frame see its own shot and all shots before it, as when shots are made one after another."""

    @override
    def between(self, query: Index, key: Index, plan: LatentPlan) -> Relation:
        return to_relation(shot_of(plan, key) <= shot_of(plan, query))

    @property
    @override
    def words(self) -> str:
        return f"its own shot and all before it {self.cuts_words}"


@by_name
@dataclass(frozen=True)
class halo(ShotRule):
    """Let every frame see its own shot and ``reach`` latent frames beyond either end of it (MoGA uses 2)."""

    reach: int = 2

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        require_frames(self.reach, 0, "halo")

    @override
    def between(self, query: Index, key: Index, plan: LatentPlan) -> Relation:
        edges = np.array([0, *plan.cuts, plan.num_frames])
        shot = shot_of(plan, query)
        return to_relation((key >= edges[shot] - self.reach) & (key < edges[shot + 1] + self.reach))

    @property
    @override
    def words(self) -> str:
        return f"its own shot and {self.reach} latent frames beyond either end of it {self.cuts_words}"


@by_name
@dataclass(frozen=True)
class together(ShotRule):
    """Hold shots together: what is further than ``reach`` latent frames away in the own shot counts ``factor`` times.

    The opposite of a mask that cuts: nothing is hidden, and far frames of a shot pull at each other. It takes away cuts
    that nobody asked for (experiments/related_masks), and none that the text asks for (experiments/hold_together).
    Frames of other shots are left as they are.

    >>> from attnscope.masks import Sides, compile_rule
    >>> plan = ShotPlan.from_latent_frames([], num_frames_latent=3, fps=16)
    >>> np.exp(compile_rule(together(plan, 8.0, reach=1), Sides.of_frames(3))).round().tolist()
    [[1.0, 1.0, 8.0], [1.0, 1.0, 1.0], [8.0, 1.0, 1.0]]
    """

    factor: float = 8.0
    reach: int = 0

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        require_multiplicity(self.factor, "in together", error=MaskError)
        require_frames(self.reach, 0, "together")

    @override
    def between(self, query: Index, key: Index, plan: LatentPlan) -> Relation:
        same = shot_of(plan, query) == shot_of(plan, key)
        return np.where(same & (np.abs(query - key) > self.reach), math.log(self.factor), 0.0)

    @property
    @override
    def words(self) -> str:
        far = f" more than {say_frames(self.reach)} away" if self.reach else ""
        return f"every frame, and others of its own shot{far} counted {self.factor:g} times {self.cuts_words}"


@by_name
@dataclass(frozen=True)
class fade(ShotRule):
    """Let the boundary open slowly: frames d apart across a cut count 1 - d / (reach + 1), beyond that nothing.

    >>> from attnscope.masks import Sides, compile_rule
    >>> plan = ShotPlan.from_latent_frames([1], num_frames_latent=3, fps=16)
    >>> np.exp(compile_rule(fade(plan, 1), Sides.of_frames(3))).round(2).tolist()
    [[1.0, 0.5, 0.0], [0.5, 1.0, 1.0], [0.0, 1.0, 1.0]]
    """

    reach: int = 2

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        require_frames(self.reach, 0, "fade")

    @override
    def between(self, query: Index, key: Index, plan: LatentPlan) -> Relation:
        share = np.maximum(1 - np.abs(query - key) / (self.reach + 1), 0.0)
        with np.errstate(divide="ignore"):
            across = np.log(share)
        return np.where(shot_of(plan, query) == shot_of(plan, key), 0.0, across)

    @property
    @override
    def words(self) -> str:
        return (
            f"its own shot, and over {self.reach} latent frames ever less of its neighbours {self.cuts_words}"
        )


@by_name
@dataclass(frozen=True, init=False)
class shot_starts(ShotRule):
    """Let every frame see the first latent frames of every shot, or of its own, counted ``times`` times."""

    num_frames: int
    of: Literal["every", "own"]
    multiplicity: float

    def __init__(
        self, plan: Plan, num_frames: int = 1, *, of: Literal["every", "own"] = "every", times: float = 1
    ) -> None:
        vars(self).update(plan=plan, num_frames=num_frames, of=of, multiplicity=times)
        require_plan(plan, "shot_starts")
        require_frames(num_frames, 1, "shot_starts")
        require_multiplicity(times, "in a rule", error=MaskError)
        if of not in ("every", "own"):
            raise MaskError(
                expected='the starts of "every" or "own" shot',
                got=quote(of),
                where="in shot_starts",
                remedy='write of="own"',
            )

    @override
    def between(self, query: Index, key: Index, plan: LatentPlan) -> Relation:
        starts = np.array([0, *plan.cuts])
        begins: Shown = key - starts[shot_of(plan, key)] < self.num_frames
        if self.of == "own":
            begins = begins & (shot_of(plan, query) == shot_of(plan, key))
        return np.where(begins, math.log(self.multiplicity), -np.inf)

    @property
    @override
    def words(self) -> str:
        whose = "its own shot" if self.of == "own" else "every shot"
        return f"the first {say_frames(self.num_frames)} of {whose}{say_times(self.multiplicity)} {self.cuts_words}"


@by_name
@dataclass(frozen=True, init=False)
class anchors(ShotRule):
    """Let every frame see all frames of the shots named, counted from 0; shot 0 if none is named."""

    shots: tuple[int, ...]

    def __init__(self, plan: Plan, *shots: int) -> None:
        vars(self).update(plan=plan, shots=shots or (0,))
        require_plan(plan, "anchors")
        known = all(map(is_whole, shots))
        if not known or not set(shots) <= set(range(plan.num_shots)):
            raise MaskError(
                expected=f"anchor shots among 0 to {plan.num_shots - 1}",
                got=quote(shots),
                where="in anchors",
                remedy="shots count from 0",
            )

    @override
    def between(self, query: Index, key: Index, plan: LatentPlan) -> Relation:
        chosen = np.isin(shot_of(plan, key), self.shots)
        return to_relation(np.broadcast_to(chosen, (query.shape[0], key.shape[1])))

    @property
    @override
    def words(self) -> str:
        return f"all of shot {', '.join(map(str, self.shots))} {self.cuts_words}"
