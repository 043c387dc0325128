"""What a mask rule is, and how rules are put together: either, both, sum, not, softer, several times.

A rule gives every pair of groups a number in natural-log units that is added to the attention scores: 0 visible,
-inf hidden, -a weighed down by exp(-a), log m counted m times. Where a rule has no opinion (a rule about frames, asked
about text) the number is nan, and a composition takes the other rule's word for it.

Legend: a relation is (query groups, key groups), float64.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from attnscope.checks import require_multiplicity, require_strength
from attnscope.errors import MaskError, quote
from attnscope.masks.sides import Sides
from attnscope.shots import LatentPlan, ShotPlan
from attnscope.shots.svg import card
from attnscope.shots.svg import relation as draw_relation

Relation = NDArray[np.float64]
Shown = NDArray[np.bool_]


BY_NAME: dict[str, Callable[..., object]] = {}
"""What can be written in the text of a rule; each rule enters itself here with :func:`by_name`."""

_Built = TypeVar("_Built", bound=type)


def by_name(build: _Built) -> _Built:
    """Let the text of a rule say this: the name in small letters stands for the class, which is its own constructor."""
    BY_NAME[build.__name__.lower()] = build
    return build


@by_name
@dataclass(frozen=True)
class Ramp:
    """A strength that changes while the video takes shape: from pure noise to the finished picture.

    ``at_noise`` holds at noise level 1, ``at_clean`` at noise level 0, a straight line between. The clock is the noise
    level, not the number of the step, so that 4 steps and 50 steps follow the same schedule.

    >>> Ramp(8.0, 0.0).at(0.25)
    2.0
    """

    at_noise: float
    at_clean: float

    def __post_init__(self) -> None:
        for strength in (self.at_noise, self.at_clean):
            require_strength(strength, "in ramp", error=MaskError)

    def at(self, sigma: float) -> float:
        """Return the strength at a noise level.

        Raises
        ------
        MaskError
            Nobody knows the noise level.
        """
        if math.isnan(sigma):
            raise MaskError(
                expected=f"a known noise level for {self.describe()}",
                got="none",
                where="in this call",
                remedy="use a fixed strength, or run the pipeline with its scheduler",
            )
        return self.at_clean + (self.at_noise - self.at_clean) * sigma

    def describe(self) -> str:
        """Say how strong it is in noise and in the clean video."""
        return f"{self.at_noise:g} in noise to {self.at_clean:g} in the clean video"


Strength = float | Ramp


class MaskRule(ABC):
    """Who may look at whom across the shots of a video, said once and used for any model.

    Rules are put together: ``a | b`` shows what either shows (the larger number), ``a & b`` what both show (the
    smaller), ``a + b`` adds the numbers, so weights multiply, ``~a`` swaps shown and hidden.

    >>> from attnscope.masks import band, first_frame
    >>> print((band(1) | first_frame()).describe())
    A frame sees frames at most 1 away, or the first latent frame of the video.
    """

    @abstractmethod
    def relation(self, sides: Sides) -> Relation:
        """Return the number for each pair of groups; nan where the rule has no opinion."""

    @property
    @abstractmethod
    def words(self) -> str:
        """What is seen, as it stands after "A frame sees"."""

    @property
    def needs_largest(self) -> bool:
        """Whether the rule, or a rule in it, must be told the largest score of each frame."""
        return any(part.needs_largest for part in vars(self).values() if isinstance(part, MaskRule))

    def describe(self) -> str:
        """Say the rule in one sentence."""
        return f"A frame sees {self.words}."

    def _repr_html_(self) -> str:
        return card(self.describe(), draw_rule(self))

    def soft(self, alpha: Strength) -> MaskRule:
        """Weigh down by exp(-alpha) what the rule hides, instead of hiding it."""
        return Soft(self, alpha)

    def times(self, multiplicity: float) -> MaskRule:
        """Count what the rule shows several times, and leave everything else as it is: log m, and 0."""
        return Times(self, multiplicity)

    def __or__(self, other: MaskRule) -> MaskRule:
        """Show what either shows."""
        return Either(self, require_rule(other, "|"))

    def __and__(self, other: MaskRule) -> MaskRule:
        """Show what both show."""
        return Both(self, require_rule(other, "&"))

    def __add__(self, other: MaskRule) -> MaskRule:
        """Add the numbers of both, so that weights multiply."""
        return Sum(self, require_rule(other, "+"))

    def __invert__(self) -> MaskRule:
        """Swap shown and hidden."""
        return Not(self)


def to_relation(visible: Shown) -> Relation:
    """Return 0 where visible, -inf where not."""
    return np.where(visible, 0.0, -np.inf)


def require_rule(candidate: object, sign: str) -> MaskRule:
    """Return the rule, or say that it is none."""
    if isinstance(candidate, MaskRule):
        return candidate
    raise MaskError(
        expected=f"a mask rule after {sign}",
        got=quote(candidate),
        where="in a composition",
        remedy="write for instance first_frame()",
    )


@dataclass(frozen=True)
class Pair(MaskRule):
    """Two rules joined by a sign; what the sign does is said by its own class."""

    first: MaskRule
    second: MaskRule


class Either(Pair):
    """What one rule or the other shows: the larger number."""

    @override
    def relation(self, sides: Sides) -> Relation:
        return np.asarray(np.fmax(self.first.relation(sides), self.second.relation(sides)))

    @property
    @override
    def words(self) -> str:
        return f"{self.first.words}, or {self.second.words}"


class Both(Pair):
    """What both rules show: the smaller number."""

    @override
    def relation(self, sides: Sides) -> Relation:
        return np.asarray(np.fmin(self.first.relation(sides), self.second.relation(sides)))

    @property
    @override
    def words(self) -> str:
        return f"({self.first.words}) but only ({self.second.words})"


class Sum(Pair):
    """Both rules at once: numbers add, so weights multiply; where one has no opinion, the other's number holds."""

    @override
    def relation(self, sides: Sides) -> Relation:
        first, second = self.first.relation(sides), self.second.relation(sides)
        silent = np.isnan(first) & np.isnan(second)
        total = np.where(np.isnan(first), 0.0, first) + np.where(np.isnan(second), 0.0, second)
        return np.where(silent, np.nan, total)

    @property
    @override
    def words(self) -> str:
        return f"{self.first.words}, together with {self.second.words}"


@dataclass(frozen=True)
class Not(MaskRule):
    """What a rule hides, and nothing of what it shows; only for rules that show or hide and weigh nothing."""

    rule: MaskRule

    @override
    def relation(self, sides: Sides) -> Relation:
        values = self.rule.relation(sides)
        known = values[~np.isnan(values)]
        if bool(((known != 0) & (known != -np.inf)).any()):
            raise MaskError(
                expected="a rule that only shows or hides under ~",
                got="weights",
                where=f"in {quote(self.rule.describe())}",
                remedy="turn the hard rule round first, then make it soft",
            )
        return np.where(np.isnan(values), np.nan, to_relation(np.isneginf(values)))

    @property
    @override
    def words(self) -> str:
        return f"all but ({self.rule.words})"


@by_name
@dataclass(frozen=True)
class Soft(MaskRule):
    """A rule that hides nothing any more: what it hid gets the number -alpha, a weight of exp(-alpha)."""

    rule: MaskRule
    alpha: Strength

    def __post_init__(self) -> None:
        if not isinstance(self.alpha, Ramp):
            require_strength(self.alpha, "in soft", error=MaskError)

    @override
    def relation(self, sides: Sides) -> Relation:
        alpha = self.alpha.at(sides.sigma) if isinstance(self.alpha, Ramp) else float(self.alpha)
        values = self.rule.relation(sides)
        return np.where(np.isneginf(values), -alpha, values)

    @property
    @override
    def words(self) -> str:
        alpha = self.alpha.describe() if isinstance(self.alpha, Ramp) else f"{self.alpha:g}"
        return f"({self.rule.words}) and the rest weighed down by exp(-a), a = {alpha}"


@by_name
@dataclass(frozen=True)
class Times(MaskRule):
    """What a rule shows counts as if it were there several times (log m); the rest is left alone (0)."""

    rule: MaskRule
    multiplicity: float

    def __post_init__(self) -> None:
        require_multiplicity(self.multiplicity, "in a rule", error=MaskError)

    @override
    def relation(self, sides: Sides) -> Relation:
        values = self.rule.relation(sides)
        counted = np.where(np.isneginf(values), 0.0, math.log(self.multiplicity))
        return np.where(np.isnan(values), np.nan, counted)

    @property
    @override
    def words(self) -> str:
        return f"all, and ({self.rule.words}) counted {self.multiplicity:g} times"


_EXAMPLE_FRAMES = 13


def draw_rule(rule: MaskRule) -> str:
    """Draw a rule as SVG on the frames of its own plan, or on 13 latent frames where it has none.

    Empty for a rule that scales with the largest score, which nobody knows before the model has run.
    """
    plan = _plan_of(rule)
    latent = plan.to_latent() if isinstance(plan, ShotPlan) else plan
    num_frames = _EXAMPLE_FRAMES if latent is None else latent.num_frames
    stride = 4 if latent is None else latent.stride
    if rule.needs_largest:
        return ""
    values = rule.relation(Sides.of_frames(num_frames, stride=stride, sigma=1.0))
    return draw_relation(np.where(np.isnan(values), 0.0, values), title=rule.describe())


def _plan_of(rule: MaskRule) -> ShotPlan | LatentPlan | None:
    """Find the shots that a rule, or a rule in it, was made for."""
    for part in vars(rule).values():
        found = _plan_of(part) if isinstance(part, MaskRule) else part
        if isinstance(found, ShotPlan | LatentPlan):
            return found
    return None
