"""Rules that know frames but no shots: the first frame, a band, a decay with distance, columns drawn by lot."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from typing_extensions import override

from attnscope.checks import require_multiplicity, require_seed, require_share, require_strength
from attnscope.errors import MaskError, quote
from attnscope.masks.rules import (
    MaskRule,
    Relation,
    by_name,
    to_relation,
)
from attnscope.masks.shot_rules import on_frames, require_frames, say_frames, say_times
from attnscope.masks.sides import Index, Sides


class FrameRule(MaskRule):
    """A rule over pairs of latent frames; it has no opinion on text."""

    @override
    def relation(self, sides: Sides) -> Relation:
        return on_frames(sides, self.between(sides.query_index, sides.key_index, sides))

    @abstractmethod
    def between(self, query: Index, key: Index, sides: Sides) -> Relation:
        """Return the number for latent frames ``query`` (rows) and ``key`` (columns)."""


@by_name
@dataclass(frozen=True, init=False)
class first_frame(FrameRule):
    """Let every frame see the first latent frame of the video (or the first few), counted ``times`` times.

    >>> from attnscope.masks import Sides, compile_rule
    >>> compile_rule(first_frame(), Sides.of_frames(2)).tolist()
    [[0.0, -inf], [0.0, -inf]]
    """

    num_frames: int
    multiplicity: float

    def __init__(self, num_frames: int = 1, *, times: float = 1) -> None:
        vars(self).update(num_frames=num_frames, multiplicity=times)
        require_frames(num_frames, 1, "first_frame")
        require_multiplicity(times, "in a rule", error=MaskError)

    @override
    def between(self, query: Index, key: Index, sides: Sides) -> Relation:
        columns = np.where(key < self.num_frames, math.log(self.multiplicity), -np.inf)
        return np.broadcast_to(columns, sides.shape)

    @property
    @override
    def words(self) -> str:
        return f"the first {say_frames(self.num_frames)} of the video{say_times(self.multiplicity)}"


@by_name
@dataclass(frozen=True)
class everything(FrameRule):
    """Let every frame see every frame: the unmasked model."""

    @override
    def between(self, query: Index, key: Index, sides: Sides) -> Relation:
        return np.zeros(sides.shape)

    @property
    @override
    def words(self) -> str:
        return "every frame"


@by_name
@dataclass(frozen=True)
class band(FrameRule):
    """Let every frame see frames at most ``reach`` latent frames away; it knows no shots."""

    reach: int

    def __post_init__(self) -> None:
        require_frames(self.reach, 0, "band")

    @override
    def between(self, query: Index, key: Index, sides: Sides) -> Relation:
        return to_relation(np.abs(query - key) <= self.reach)

    @property
    @override
    def words(self) -> str:
        return f"frames at most {self.reach} away"


@by_name
@dataclass(frozen=True)
class decay(FrameRule):
    """Weigh frames down with their distance: strength * (exp(-d^2 / 2 width^2) - 1).

    VSTAR (Li et al. 2024) adds strength * exp(-d^2 / 2 width^2) times the largest score of the row; softmax cannot
    tell that from the form here, which is 0 for the frame itself. ``by_largest`` scales with the largest score.

    >>> from attnscope.masks import Sides, compile_rule
    >>> compile_rule(decay(1.0, 2.0), Sides.of_frames(2)).round(3).tolist()
    [[0.0, -0.787], [-0.787, 0.0]]
    """

    width: float
    strength: float = 1.0
    by_largest: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        require_strength(self.strength, "in decay", error=MaskError)
        require_strength(self.width, "in decay", error=MaskError)
        if self.width == 0:
            raise MaskError(
                expected="a width above 0",
                got="0",
                where="in decay",
                remedy="use band(0) for a frame that sees only itself",
            )

    @override
    def between(self, query: Index, key: Index, sides: Sides) -> Relation:
        closeness = np.exp(-((query - key) ** 2) / (2 * self.width**2))
        return np.asarray(self.strength * self._unit(sides) * (closeness - 1))

    def _unit(self, sides: Sides) -> Relation:
        if not self.by_largest:
            return np.ones((1, 1))
        if sides.largest is None:
            raise MaskError(
                expected=f"the largest score of each frame for {quote(self.describe())}",
                got="none",
                where="in compile_rule",
                remedy="let intervene measure it, or use by_largest=False",
            )
        return np.asarray(sides.largest)[:, None]

    @property
    @override
    def words(self) -> str:
        unit = " times the largest score" if self.by_largest else ""
        return f"every frame, weighed down with distance (width {self.width:g}, strength {self.strength:g}{unit})"

    @property
    @override
    def needs_largest(self) -> bool:
        return self.by_largest


@by_name
@dataclass(frozen=True)
class sampled(FrameRule):
    """Let every frame see frames that are drawn by lot; join it with a rule that shows the frame itself.

    ``share`` of the frames are drawn, the same for every frame that looks (``per="column"``) or anew for each
    (``per="pair"``).
    """

    share: float
    seed: int = field(default=0, kw_only=True)
    per: Literal["column", "pair"] = field(default="column", kw_only=True)

    def __post_init__(self) -> None:
        require_share(self.share, "in sampled", error=MaskError)
        require_seed(self.seed, "in sampled", error=MaskError)
        if self.per not in ("column", "pair"):
            raise MaskError(
                expected='a draw per "column" or "pair"',
                got=quote(self.per),
                where="in sampled",
                remedy='write per="column"',
            )

    @override
    def between(self, query: Index, key: Index, sides: Sides) -> Relation:
        rng = np.random.default_rng(self.seed)
        size = sides.num_frames
        if self.per == "pair":
            drawn = rng.random((size, size)) < self.share
            return to_relation(drawn[np.minimum(query, size - 1), np.minimum(key, size - 1)])
        drawn = rng.random(size) < self.share
        return to_relation(np.broadcast_to(drawn[np.minimum(key, size - 1)], sides.shape))

    @property
    @override
    def words(self) -> str:
        how = "the same for all" if self.per == "column" else "anew for each frame that looks"
        return f"{100 * self.share:g}% of the frames, drawn by lot, {how} (seed {self.seed})"


@dataclass(frozen=True, init=False)
class from_array(FrameRule):
    """Say the number of every pair of latent frames yourself: 0 visible, -inf hidden, or any weight in log units.

    Raises
    ------
    MaskError
        The numbers are no square, or one of them is nan or +inf.

    Examples
    --------
    >>> from_array([[0.0, -1.0], [-1.0, 0.0]]).describe()
    'A frame sees what an array of 2 x 2 numbers says.'
    """

    values: tuple[tuple[float, ...], ...]

    def __init__(self, values: Sequence[Sequence[float]]) -> None:
        array = np.asarray(values, dtype=np.float64) if len(values) else np.zeros((0, 0))
        if array.ndim != 2 or array.shape[0] != array.shape[1] or not array.size:
            raise MaskError(
                expected="a square of numbers, one row and one column a latent frame",
                got=f"shape {array.shape}",
                where="in from_array",
                remedy="give all pairs",
            )
        if bool(np.isnan(array).any()) or bool((array == np.inf).any()):
            raise MaskError(
                expected="finite numbers and -inf",
                got="nan or +inf",
                where="in from_array",
                remedy="0 is visible, -inf hidden",
            )
        vars(self).update(values=tuple(tuple(row) for row in array.tolist()))

    @override
    def between(self, query: Index, key: Index, sides: Sides) -> Relation:
        size = len(self.values)
        if size != sides.num_frames:
            raise MaskError(
                expected=f"numbers for {sides.num_frames} latent frames, as the video has",
                got=f"{size}",
                where="in from_array",
                remedy="give one row and one column a frame",
            )
        return np.asarray(self.values)[np.minimum(query, size - 1), np.minimum(key, size - 1)]

    @property
    @override
    def words(self) -> str:
        return f"what an array of {len(self.values)} x {len(self.values)} numbers says"
