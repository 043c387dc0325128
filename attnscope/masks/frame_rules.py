"""Rules that know frames but no shots: the first frame, a band, a decay with distance, columns drawn by lot."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from attnscope.errors import MaskError, quote
from attnscope.masks.rules import MaskRule, Relation, require_multiplicity, require_strength, shown
from attnscope.masks.shot_rules import on_frames, require_whole, say_frames
from attnscope.masks.sides import Index, Sides


class FrameRule(MaskRule):
    """A rule over pairs of latent frames; it has no opinion on text."""

    def relation(self, sides: Sides) -> Relation:
        """Return the numbers of frame pairs, nan elsewhere."""
        return on_frames(sides, self.between(sides.query_index, sides.key_index, sides))

    @abstractmethod
    def between(self, query: Index, key: Index, sides: Sides) -> Relation:
        """Return the number for latent frames ``query`` (rows) and ``key`` (columns)."""


@dataclass(frozen=True)
class FirstFrame(FrameRule):
    """The first latent frames of the video."""

    num_frames: int
    multiplicity: float

    def __post_init__(self) -> None:
        require_whole(self.num_frames, 1, "first_frame")
        require_multiplicity(self.multiplicity)

    def between(self, query: Index, key: Index, sides: Sides) -> Relation:
        """Show the first columns, with the logarithm of their multiplicity."""
        columns = np.where(key < self.num_frames, math.log(self.multiplicity), -np.inf)
        return np.broadcast_to(columns, sides.shape)

    @property
    def words(self) -> str:
        """Which frames, how often."""
        often = "" if self.multiplicity == 1 else f", counted {self.multiplicity:g} times"
        return f"the first {say_frames(self.num_frames)} of the video{often}"


@dataclass(frozen=True)
class Everything(FrameRule):
    """All frames."""

    def between(self, query: Index, key: Index, sides: Sides) -> Relation:
        """Show all."""
        return np.zeros(sides.shape)

    @property
    def words(self) -> str:
        """All."""
        return "every frame"


@dataclass(frozen=True)
class Band(FrameRule):
    """Frames at most ``reach`` away."""

    reach: int

    def __post_init__(self) -> None:
        require_whole(self.reach, 0, "band")

    def between(self, query: Index, key: Index, sides: Sides) -> Relation:
        """Show frames near the diagonal."""
        return shown(np.abs(query - key) <= self.reach)

    @property
    def words(self) -> str:
        """How far."""
        return f"frames at most {self.reach} away"


@dataclass(frozen=True)
class Decay(FrameRule):
    """All frames, weighed down with distance by a Gaussian of width ``width``."""

    width: float
    strength: float
    by_largest: bool

    def __post_init__(self) -> None:
        require_strength(self.strength, "decay")
        require_strength(self.width, "decay")
        if self.width == 0:
            raise MaskError(
                expected="a width above 0",
                got="0",
                where="in decay",
                remedy="use band(0) for a frame that sees only itself",
            )

    def between(self, query: Index, key: Index, sides: Sides) -> Relation:
        """Return strength * (closeness - 1), times the largest score of the query where asked for."""
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
    def words(self) -> str:
        """How wide, how strong."""
        unit = " times the largest score" if self.by_largest else ""
        return f"every frame, weighed down with distance (width {self.width:g}, strength {self.strength:g}{unit})"

    @property
    def needs_largest(self) -> bool:
        """Whether the strength is in units of the largest score."""
        return self.by_largest


@dataclass(frozen=True)
class Sampled(FrameRule):
    """Frames that are drawn by lot, the same for every query or anew for each."""

    share: float
    seed: int
    per: Literal["column", "pair"]

    def __post_init__(self) -> None:
        number = isinstance(self.share, int | float) and not isinstance(self.share, bool)
        if not number or not 0 <= self.share <= 1:
            raise MaskError(
                expected="a share from 0 to 1",
                got=quote(self.share),
                where="in sampled",
                remedy="write 0.5",
            )
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise MaskError(
                expected="a seed from 0",
                got=quote(self.seed),
                where="in sampled",
                remedy="write a whole number",
            )
        if self.per not in ("column", "pair"):
            raise MaskError(
                expected='a draw per "column" or "pair"',
                got=quote(self.per),
                where="in sampled",
                remedy='write per="column"',
            )

    def between(self, query: Index, key: Index, sides: Sides) -> Relation:
        """Show the columns (or pairs) that were drawn."""
        rng = np.random.default_rng(self.seed)
        size = sides.num_frames
        if self.per == "pair":
            drawn = rng.random((size, size)) < self.share
            return shown(drawn[np.minimum(query, size - 1), np.minimum(key, size - 1)])
        drawn = rng.random(size) < self.share
        return shown(np.broadcast_to(drawn[np.minimum(key, size - 1)], sides.shape))

    @property
    def words(self) -> str:
        """How many, how drawn."""
        how = "the same for all" if self.per == "column" else "anew for each frame that looks"
        return f"{100 * self.share:g}% of the frames, drawn by lot, {how} (seed {self.seed})"


@dataclass(frozen=True)
class Given(FrameRule):
    """Numbers written down one by one."""

    values: tuple[tuple[float, ...], ...]

    def between(self, query: Index, key: Index, sides: Sides) -> Relation:
        """Return the numbers."""
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
    def words(self) -> str:
        """How many."""
        return f"what an array of {len(self.values)} x {len(self.values)} numbers says"


def first_frame(num_frames: int = 1, *, times: float = 1) -> MaskRule:
    """Let every frame see the first latent frame of the video (or the first few), counted ``times`` times.

    >>> from attnscope.masks import Sides, compile_rule
    >>> compile_rule(first_frame(), Sides.of_frames(2)).tolist()
    [[0.0, -inf], [0.0, -inf]]
    """
    return FirstFrame(num_frames, times)


def everything() -> MaskRule:
    """Let every frame see every frame: the unmasked model."""
    return Everything()


def band(reach: int) -> MaskRule:
    """Let every frame see frames at most ``reach`` latent frames away; it knows no shots."""
    return Band(reach)


def decay(width: float, strength: float = 1.0, *, by_largest: bool = False) -> MaskRule:
    """Weigh frames down with their distance: strength * (exp(-d^2 / 2 width^2) - 1).

    VSTAR (Li et al. 2024) adds strength * exp(-d^2 / 2 width^2) times the largest score of the row; softmax cannot
    tell that from the form here, which is 0 for the frame itself. ``by_largest`` scales with the largest score.

    >>> from attnscope.masks import Sides, compile_rule
    >>> compile_rule(decay(1.0, 2.0), Sides.of_frames(2)).round(3).tolist()
    [[0.0, -0.787], [-0.787, 0.0]]
    """
    return Decay(width, strength, by_largest)


def sampled(share: float, *, seed: int = 0, per: Literal["column", "pair"] = "column") -> MaskRule:
    """Let every frame see frames that are drawn by lot; join it with a rule that shows the frame itself."""
    return Sampled(share, seed, per)


def from_array(values: Sequence[Sequence[float]]) -> MaskRule:
    """Say the number of every pair of latent frames yourself: 0 visible, -inf hidden, or any weight in log units.

    Raises
    ------
    MaskError
        The numbers are no square, or one of them is nan or +inf.

    >>> from_array([[0.0, -1.0], [-1.0, 0.0]]).describe()
    'A frame sees what an array of 2 x 2 numbers says.'
    """
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
    return Given(tuple(tuple(row) for row in array.tolist()))
