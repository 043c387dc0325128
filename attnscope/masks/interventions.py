"""A rule and where it acts: which layers, heads, steps, noise levels, guidance branches, which attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict, get_args

from attnscope._types import Range
from attnscope.errors import MaskError, quote
from attnscope.masks.rules import MaskRule, draw_rule, require_rule
from attnscope.ranges import format_range, write_slice
from attnscope.shots.svg import card

Attention = Literal["any", "self", "cross"]
Architecture = Literal["any", "DiT", "UNet"]

BRANCHES = ("cond", "uncond")


class Scope(TypedDict, total=False):
    """Where and when a rule holds, as keywords: the fields of `Intervention` beside the rule, each of them optional."""

    layers: Range
    heads: Range
    steps: Range
    sigmas: tuple[float, float]
    branch: str
    attention: Attention
    architecture: Architecture


@dataclass(frozen=True)
class Intervention:
    """One change to a model's attention: the rule, and the only places and times where it holds.

    Layers are labels from 1, heads and steps count from 0; ranges are read when the model is known. ``sigmas`` are the
    lowest and the highest noise level at which the rule holds, both included. ``branch`` names guidance branches; the
    default is both, because a rule in one branch alone makes guidance push towards what the rule hides.
    ``attention`` is "any": everywhere the rule has an opinion; "self" between frames, "cross" from frames to text.
    ``architecture`` says for which denoisers the layers are meant, "DiT" or "UNet": layer 7 of one is not layer 7 of
    the other, and other models are refused; "any" by default.

    Raises
    ------
    MaskError
        A branch, an attention, an architecture or a noise level that does not exist.

    Examples
    --------
    >>> from attnscope.masks import first_frame
    >>> print(Intervention(first_frame(), layers="7-28").describe())
    A frame sees the first latent frame of the video. In layers 7-28, all heads, all steps, branches cond and uncond.
    """

    rule: MaskRule
    layers: Range = "all"
    heads: Range = "all"
    steps: Range = "all"
    sigmas: tuple[float, float] = (0.0, 1.0)
    branch: str = "cond,uncond"
    attention: Attention = "any"
    architecture: Architecture = "any"

    def __post_init__(self) -> None:
        require_rule(self.rule, "an intervention")
        for name in ("layers", "heads", "steps"):
            chosen = getattr(self, name)
            if isinstance(chosen, slice):
                object.__setattr__(self, name, write_slice(chosen, name=name))
            elif not isinstance(chosen, str | int):
                object.__setattr__(self, name, tuple(chosen))
        if self.attention not in get_args(Attention):
            raise MaskError(
                expected="attention any, self or cross",
                got=quote(self.attention),
                where="in an intervention",
                remedy="name one",
            )
        if self.architecture not in get_args(Architecture):
            raise MaskError(
                expected="architecture any, DiT or UNet",
                got=quote(self.architecture),
                where="in an intervention",
                remedy="name one",
            )
        parts = self.branches
        if not parts or len(set(parts)) < len(parts) or not set(parts) <= set(BRANCHES):
            raise MaskError(
                expected="branch cond, uncond or cond,uncond",
                got=quote(self.branch),
                where="in an intervention",
                remedy="name one or both",
            )
        self._require_sigmas()

    def _require_sigmas(self) -> None:
        try:
            low, high = (float(sigma) for sigma in self.sigmas)
            fits = 0 <= low <= high <= 1
        except (TypeError, ValueError):
            fits = False
        if not fits:
            raise MaskError(
                expected="the lowest and the highest noise level, from 0 to 1",
                got=quote(self.sigmas),
                where="in an intervention",
                remedy="write for instance (0.5, 1.0)",
            )

    @property
    def branches(self) -> tuple[str, ...]:
        """The guidance branches, one by one."""
        return tuple(part.strip() for part in str(self.branch).split(","))

    def _repr_html_(self) -> str:
        return card(self.describe(), draw_rule(self.rule))

    def describe(self) -> str:
        """Say the rule and its scope."""
        parts = [f"{'all ' if self.layers == 'all' else ''}layers{_labels(self.layers)}"]
        parts += [f"{'all ' if self.heads == 'all' else ''}heads{_labels(self.heads)}"]
        parts += [f"{'all ' if self.steps == 'all' else ''}steps{_labels(self.steps)}"]
        if tuple(self.sigmas) != (0.0, 1.0):
            parts.append(f"noise levels {self.sigmas[0]:g} to {self.sigmas[1]:g}")
        branches = self.branches
        parts.append(
            f"branch{'es' if len(branches) > 1 else ''} {' and '.join(branches)}"
            + ("" if self.attention == "any" else f", {self.attention}-attention only")
        )
        return f"{self.rule.describe()} In {', '.join(parts)}."


def _labels(chosen: Range) -> str:
    if chosen == "all":
        return ""
    if isinstance(chosen, str | int | slice):
        return f" {chosen}"
    return f" {format_range(chosen)}"
