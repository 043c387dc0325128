"""Rules that know the shots: same shot, the shot before, the boundary that opens slowly, the first frames of shots."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from attnscope.errors import MaskError, quote
from attnscope.masks.rules import MaskRule, Relation, Shown, require_multiplicity, shown
from attnscope.masks.sides import Index, Sides
from attnscope.shots import LatentPlan, ShotPlan

Plan = ShotPlan | LatentPlan


@dataclass(frozen=True)
class ShotRule(MaskRule):
    """A rule over pairs of latent frames that depends on their shots; it has no opinion on text."""

    plan: Plan

    def __post_init__(self) -> None:
        require_plan(self.plan, type(self).__name__)

    def relation(self, sides: Sides) -> Relation:
        """Return the numbers of frame pairs, nan elsewhere."""
        return on_frames(sides, self.between(sides.query_index, sides.key_index, self.plan_on(sides)))

    def plan_on(self, sides: Sides) -> LatentPlan:
        """Return the plan on the latent frames of this call."""
        return latent_plan(self.plan, sides)

    @abstractmethod
    def between(self, query: Index, key: Index, plan: LatentPlan) -> Relation:
        """Return the number for latent frames ``query`` (rows) and ``key`` (columns)."""

    @property
    def cuts_words(self) -> str:
        """Where the cuts are, in brackets."""
        return f"({say_cuts(self.plan)})"


def require_plan(plan: object, where: str) -> None:
    """Refuse what is no plan of shots."""
    if not isinstance(plan, ShotPlan | LatentPlan):
        raise MaskError(
            expected="a ShotPlan for this rule",
            got=quote(plan),
            where=f"in {where}",
            remedy="make one with ShotPlan.from_seconds",
        )


def require_whole(count: object, least: int, where: str) -> None:
    """Refuse what is no number of frames."""
    whole = isinstance(count, int) and not isinstance(count, bool)
    if not whole or not least <= count <= 10**6:  # type: ignore[operator]
        raise MaskError(
            expected=f"a whole number of latent frames from {least}",
            got=quote(count),
            where=f"in {where}",
            remedy=f"write {max(least, 1)}",
        )


def latent_plan(plan: Plan, sides: Sides) -> LatentPlan:
    """Bring a plan to the latent frames of an attention call.

    Raises
    ------
    MaskError
        The plan has another number of latent frames than the video.
    """
    latent = plan.to_latent(sides.stride) if isinstance(plan, ShotPlan) else plan
    if latent.num_frames != sides.num_frames:
        raise MaskError(
            expected=f"a plan of {sides.num_frames} latent frames, as the video has",
            got=f"one of {latent.num_frames}",
            where="in a mask rule",
            remedy=f"plan the video that is made, with the model's temporal stride, {sides.stride}",
        )
    return latent


def on_frames(sides: Sides, values: Relation) -> Relation:
    """Keep the numbers of frame pairs; there is no opinion on others."""
    return np.where(sides.pairs(["frame"], ["frame"]), values, np.nan)


def say_cuts(plan: Plan) -> str:
    """Say where the cuts are."""
    unit, cuts = (
        ("video frame", plan.cuts_frame) if isinstance(plan, ShotPlan) else ("latent frame", plan.cuts)
    )
    if not cuts:
        return "one shot"
    return f"cut{'s' if len(cuts) > 1 else ''} at {unit} {', '.join(map(str, cuts))}"


def shot_of(plan: LatentPlan, frame: Index) -> NDArray[np.int64]:
    """Return the shot of each latent frame; what is no frame of the plan is clipped to its ends."""
    return plan.shot_of_frame[np.clip(frame, 0, plan.num_frames - 1)]


class SameShot(ShotRule):
    """Own shot."""

    def between(self, query: Index, key: Index, plan: LatentPlan) -> Relation:
        """Show frames of the same shot."""
        return shown(shot_of(plan, query) == shot_of(plan, key))

    @property
    def words(self) -> str:
        """Own shot."""
        return f"its own shot {self.cuts_words}"


@dataclass(frozen=True)
class NearShot(ShotRule):
    """The shot that is ``offset`` shots away: -1 the one before, 1 the one after."""

    offset: int

    def between(self, query: Index, key: Index, plan: LatentPlan) -> Relation:
        """Show frames of that shot."""
        return shown(shot_of(plan, key) == shot_of(plan, query) + self.offset)

    @property
    def words(self) -> str:
        """Before or after."""
        return f"the shot {'before' if self.offset < 0 else 'after'} its own {self.cuts_words}"


class ShotCausal(ShotRule):
    """Own shot and everything before it."""

    def between(self, query: Index, key: Index, plan: LatentPlan) -> Relation:
        """Show frames of shots that are not later."""
        return shown(shot_of(plan, key) <= shot_of(plan, query))

    @property
    def words(self) -> str:
        """No later shot."""
        return f"its own shot and all before it {self.cuts_words}"


@dataclass(frozen=True)
class Halo(ShotRule):
    """Own shot and ``reach`` latent frames on either side of it."""

    reach: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require_whole(self.reach, 0, "halo")

    def between(self, query: Index, key: Index, plan: LatentPlan) -> Relation:
        """Show keys from ``reach`` before the first frame of the query's shot to ``reach`` behind its last."""
        edges = np.array([0, *plan.cuts, plan.num_frames])
        shot = shot_of(plan, query)
        return shown((key >= edges[shot] - self.reach) & (key < edges[shot + 1] + self.reach))

    @property
    def words(self) -> str:
        """Own shot and a margin."""
        return f"its own shot and {self.reach} latent frames beyond either end of it {self.cuts_words}"


@dataclass(frozen=True)
class Fade(ShotRule):
    """Own shot, and across a cut less the farther away, nothing beyond ``reach`` latent frames."""

    reach: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require_whole(self.reach, 0, "fade")

    def between(self, query: Index, key: Index, plan: LatentPlan) -> Relation:
        """Weigh frames d apart across a cut by 1 - d / (reach + 1)."""
        share = np.maximum(1 - np.abs(query - key) / (self.reach + 1), 0.0)
        with np.errstate(divide="ignore"):
            across = np.log(share)
        return np.where(shot_of(plan, query) == shot_of(plan, key), 0.0, across)

    @property
    def words(self) -> str:
        """Own shot and a fading margin."""
        return (
            f"its own shot, and over {self.reach} latent frames ever less of its neighbours {self.cuts_words}"
        )


@dataclass(frozen=True)
class ShotStarts(ShotRule):
    """The first ``num_frames`` latent frames of every shot, or of the own one."""

    num_frames: int
    of: Literal["every", "own"]
    multiplicity: float

    def __post_init__(self) -> None:
        super().__post_init__()
        require_whole(self.num_frames, 1, "shot_starts")
        require_multiplicity(self.multiplicity)
        if self.of not in ("every", "own"):
            raise MaskError(
                expected='the starts of "every" or "own" shot',
                got=quote(self.of),
                where="in shot_starts",
                remedy='write of="own"',
            )

    def between(self, query: Index, key: Index, plan: LatentPlan) -> Relation:
        """Show keys that begin a shot, with the logarithm of their multiplicity."""
        starts = np.array([0, *plan.cuts])
        begins: Shown = key - starts[shot_of(plan, key)] < self.num_frames
        if self.of == "own":
            begins = begins & (shot_of(plan, query) == shot_of(plan, key))
        return np.where(begins, math.log(self.multiplicity), -np.inf)

    @property
    def words(self) -> str:
        """Which starts, how often."""
        whose = "its own shot" if self.of == "own" else "every shot"
        often = "" if self.multiplicity == 1 else f", counted {self.multiplicity:g} times"
        return f"the first {say_frames(self.num_frames)} of {whose}{often} {self.cuts_words}"


@dataclass(frozen=True)
class Anchors(ShotRule):
    """All frames of chosen shots, whoever asks."""

    shots: tuple[int, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        num_shots = self.plan.num_shots
        if not self.shots or any(
            isinstance(shot, bool) or not isinstance(shot, int) or not 0 <= shot < num_shots
            for shot in self.shots
        ):
            raise MaskError(
                expected=f"anchor shots among 0 to {num_shots - 1}",
                got=quote(self.shots),
                where="in anchors",
                remedy="shots count from 0",
            )

    def between(self, query: Index, key: Index, plan: LatentPlan) -> Relation:
        """Show frames of the anchor shots."""
        chosen = np.isin(shot_of(plan, key), self.shots)
        return shown(np.broadcast_to(chosen, (query.shape[0], key.shape[1])))

    @property
    def words(self) -> str:
        """Which shots."""
        return f"all of shot {', '.join(map(str, self.shots))} {self.cuts_words}"


def say_frames(count: int) -> str:
    """Write how many latent frames."""
    return "latent frame" if count == 1 else f"{count} latent frames"


def same_shot(plan: Plan) -> MaskRule:
    """Let every frame see its own shot and nothing else: the block-diagonal mask of CineTrans.

    >>> from attnscope.masks import Sides, compile_rule
    >>> plan = ShotPlan.from_latent_frames([2], num_frames_latent=3, fps=16)
    >>> compile_rule(same_shot(plan), Sides.of_frames(3)).tolist()
    [[0.0, 0.0, -inf], [0.0, 0.0, -inf], [-inf, -inf, 0.0]]
    """
    return SameShot(plan)


def previous_shot(plan: Plan) -> MaskRule:
    """Let every frame see the shot before its own; join it with :func:`same_shot`, or shot 0 sees nothing."""
    return NearShot(plan, -1)


def next_shot(plan: Plan) -> MaskRule:
    """Let every frame see the shot after its own; join it with :func:`same_shot`, or the last shot sees nothing."""
    return NearShot(plan, 1)


def shot_causal(plan: Plan) -> MaskRule:
    """Let every frame see its own shot and all shots before it, as when shots are made one after another."""
    return ShotCausal(plan)


def halo(plan: Plan, reach: int = 2) -> MaskRule:
    """Let every frame see its own shot and a few latent frames beyond either end of it (MoGA uses 2)."""
    return Halo(plan, reach)


def fade(plan: Plan, reach: int = 2) -> MaskRule:
    """Let the boundary open slowly: frames d apart across a cut count 1 - d / (reach + 1), beyond that nothing.

    >>> from attnscope.masks import Sides, compile_rule
    >>> plan = ShotPlan.from_latent_frames([1], num_frames_latent=3, fps=16)
    >>> import numpy as np
    >>> np.exp(compile_rule(fade(plan, 1), Sides.of_frames(3))).round(2).tolist()
    [[1.0, 0.5, 0.0], [0.5, 1.0, 1.0], [0.0, 1.0, 1.0]]
    """
    return Fade(plan, reach)


def shot_starts(
    plan: Plan, num_frames: int = 1, *, of: Literal["every", "own"] = "every", times: float = 1
) -> MaskRule:
    """Let every frame see the first latent frames of every shot, or of its own, counted ``times`` times."""
    return ShotStarts(plan, num_frames, of, times)


def anchors(plan: Plan, *shots: int) -> MaskRule:
    """Let every frame see all frames of the shots named, counted from 0."""
    return Anchors(plan, tuple(shots) or (0,))
