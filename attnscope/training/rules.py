"""A rule in the forward and backward pass of training, where every film of a batch has shots and captions of its own.

Legend: B films, H heads, F query groups, G key groups.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from attnscope._types import Range
from attnscope.errors import MaskError, quote
from attnscope.hooks import Attachment, HookPoint
from attnscope.intervening.captions import ShotText
from attnscope.intervening.intervene import Change, interventions_of
from attnscope.intervening.masking import Placed, largest_scores, place
from attnscope.masks import Group, Intervention, MaskRule, Sides, compile_rule, parse_rule, preset
from attnscope.masks.interventions import Scope
from attnscope.masks.presets import PRESETS
from attnscope.masks.rebinding import rebind
from attnscope.masks.rules import Relation
from attnscope.shots import LatentPlan

Rule = str | Change | Callable[[LatentPlan], Change] | None
"""What holds shots apart in training: the text of a rule, the name of a preset, a rule or interventions whose shots are
replaced by those of each film, or what makes them of a plan."""


@dataclass(frozen=True)
class Subject:
    """One film of a batch, as the rule must know it: its shots, its text, how much noise it has."""

    plan: LatentPlan
    text: ShotText | None
    sigma: float
    is_routed: bool
    has_text: bool


def rule_for(rule: Rule, plan: LatentPlan, layers: Range | None = None) -> tuple[Intervention, ...]:
    """Return what a rule means for the shots of one film.

    Raises
    ------
    MaskError
        It is no rule, or acts at denoising steps, which training has none of.
    """
    scope: Scope = {} if layers is None else {"layers": layers}
    if rule is None:
        found: tuple[Intervention, ...] = ()
    elif isinstance(rule, str):
        found = (
            preset(rule, plan, **scope)
            if rule in PRESETS
            else interventions_of(parse_rule(rule, plan), scope)
        )
    elif callable(rule) and not isinstance(rule, MaskRule):
        found = interventions_of(rule(plan), scope)
    else:
        found = tuple(rebind(each, plan) for each in interventions_of(rule, scope))
    for each in found:
        if each.steps != "all":
            raise MaskError(
                expected="a rule that holds at every step, or at noise levels",
                got=f"steps {quote(each.steps)}",
                where="in a rule to train under",
                remedy="say sigmas=(0.5, 1.0) instead: training knows noise levels and no steps",
            )
    return found


class BatchRules:
    """Writes the numbers of a rule to the mask points of an attachment, for each film of the batch its own.

    What is written is the frame relation (B, H or 1, F, G): hidden pairs are not computed and have no gradient. It
    stays as it was told until the next :meth:`begin`, so that blocks that are computed again for the backward pass run
    under the rule of the forward pass.
    """

    def __init__(
        self,
        attachment: Attachment,
        rule: Callable[[LatentPlan], tuple[Intervention, ...]],
        routing: Callable[[LatentPlan], tuple[Intervention, ...]] = lambda plan: (),
    ) -> None:
        self._attachment, self._rule, self._routing = attachment, rule, routing
        self._stride = attachment.family.temporal_stride(attachment.model)
        self._placed: dict[LatentPlan, tuple[Placed, ...]] = {}
        self._subjects: tuple[Subject, ...] = ()
        self._is_ruled = True
        self._asks_largest = False  # whether some rule of the batch must see queries and keys, at some layer
        self._known: dict[Hashable, Tensor | None] = {}
        self._relations: dict[Hashable, Relation] = {}
        self._seen: dict[str, Tensor] = {}

    def begin(self, subjects: Sequence[Subject], *, is_ruled: bool = True) -> None:
        """Say what the films of the next batch are, and whether the rule holds; without films nothing is written."""
        self._subjects, self._known, self._seen, self._is_ruled = tuple(subjects), {}, {}, is_ruled
        placed = {subject.plan: self.place(subject.plan) for subject in subjects}
        self._asks_largest = any(
            each.intervention.rule.needs_largest for rules in placed.values() for each in rules
        )

    def listen(self, undo: ExitStack) -> None:
        """Begin to write at every layer; `undo` ends it."""
        for layer, tap in self._attachment.taps.items():
            for point in (tap.hook_q, tap.hook_k):
                undo.callback(self._attachment.listen(point.name, self._remember(layer)))
            undo.callback(self._attachment.listen(tap.hook_mask.name, self._on_frames(layer)))
        for layer, tap in self._attachment.cross_taps.items():
            undo.callback(self._attachment.listen(tap.hook_mask.name, self._on_text(layer)))

    def place(self, plan: LatentPlan) -> tuple[Placed, ...]:
        """Put the rule on the shots of one film; done once for each plan."""
        if plan not in self._placed:
            self._placed[plan] = place((*self._rule(plan), *self._routing(plan)), self._attachment)
        return self._placed[plan]

    def _active(self, subject: Subject, layer: int, kind: str) -> tuple[int, ...]:
        """Which interventions hold for a film at this layer, by their place in the list."""
        if not self._is_ruled:
            return ()
        other = "cross" if kind == "self" else "self"
        branch = "cond" if subject.has_text else "uncond"
        return tuple(
            index
            for index, each in enumerate(self.place(subject.plan))
            if layer in each.layers
            and each.intervention.attention != other
            and branch in each.intervention.branches
            and each.intervention.sigmas[0] <= subject.sigma <= each.intervention.sigmas[1]
        )

    def _remember(self, layer: int) -> Callable[[Tensor, HookPoint], None]:
        def see(value: Tensor, point: HookPoint) -> None:
            if self._needs_largest(layer):
                self._seen[point.name] = value.detach()

        return see

    def _needs_largest(self, layer: int) -> bool:
        return self._asks_largest and any(
            self.place(subject.plan)[index].intervention.rule.needs_largest
            for subject in self._subjects
            for index in self._active(subject, layer, "self")
        )

    def _on_frames(self, layer: int) -> Callable[[Tensor, HookPoint], Tensor | None]:
        def write(relation: Tensor, point: HookPoint) -> Tensor | None:
            active = tuple(self._active(subject, layer, "self") for subject in self._subjects)
            if not any(active):
                return None
            groups = tuple(Group(each.kind, each.index) for each in self._attachment.layout.segments)
            key = ("self", groups, active)
            if self._needs_largest(layer):
                return self._numbers(groups, active, self._largest(point))
            if key not in self._known:
                self._known[key] = self._numbers(groups, active)
            return self._known[key]

        return write

    def _numbers(
        self, groups: tuple[Group, ...], active: tuple[tuple[int, ...], ...], largest: Tensor | None = None
    ) -> Tensor | None:
        films = []
        for film, (subject, mine) in enumerate(zip(self._subjects, active, strict=True)):
            sides = Sides.joint(groups, stride=self._stride, sigma=subject.sigma)
            parts = [
                self._of_heads(
                    self.place(subject.plan)[index], sides, None if largest is None else largest[film]
                )
                for index in mine
            ]
            films.append(sum(parts, np.zeros((1, *sides.shape))))
        return _stack(films)

    def _of_heads(self, placed: Placed, sides: Sides, largest: Tensor | None) -> Relation:
        """The relation of one intervention for one film, (1 or H, F, G)."""
        rule = placed.intervention.rule
        if rule.needs_largest:
            assert largest is not None
            found = np.zeros((placed.num_heads, *sides.shape))
            for head in placed.heads:
                found[head] = compile_rule(rule, replace(sides, largest=tuple(largest[head].tolist())))
            return found
        relation = self._compile(rule, sides)
        if placed.all_heads:
            return relation[None]
        of_heads = np.zeros((placed.num_heads, *sides.shape))
        of_heads[list(placed.heads)] = relation
        return of_heads

    def _compile(self, rule: MaskRule, sides: Sides) -> Relation:
        # The noise level only matters to rules that say so, and differs from film to film: a small memory is enough.
        key = (rule, sides)
        if key not in self._relations:
            if len(self._relations) >= _REMEMBERED:
                self._relations.clear()
            self._relations[key] = compile_rule(rule, sides)
        return self._relations[key]

    def _largest(self, point: HookPoint) -> Tensor:
        query, key = (self._seen[point.name.replace("hook_mask", f"hook_{side}")] for side in ("q", "k"))
        return largest_scores(query, key, self._attachment.layout.offsets)

    def _on_text(self, layer: int) -> Callable[[Tensor, HookPoint], Tensor | None]:
        def write(relation: Tensor, point: HookPoint) -> Tensor | None:
            if any(subject.text is None for subject in self._subjects) or not self._subjects:
                return None
            num_frames, num_tokens = relation.shape
            active = tuple(
                self._active(subject, layer, "cross") if subject.is_routed else ()
                for subject in self._subjects
            )
            key = ("cross", num_frames, num_tokens, active)
            if key not in self._known:
                self._known[key] = self._of_text(num_frames, num_tokens, active)
            return self._known[key]

        return write

    def _of_text(
        self, num_frames: int, num_tokens: int, active: tuple[tuple[int, ...], ...]
    ) -> Tensor | None:
        films = []
        for subject, mine in zip(self._subjects, active, strict=True):
            text = subject.text
            assert text is not None
            sides = text.sides(num_frames, stride=self._stride, sigma=subject.sigma)
            counted = np.broadcast_to(np.array(text.bias_of_token), sides.shape)[None]
            parts = [self._of_heads(self.place(subject.plan)[index], sides, None) for index in mine]
            own = sum(parts, counted)
            missing = num_tokens - own.shape[-1]
            # Texts of a batch differ in length: what fills the shorter ones is hidden.
            films.append(np.pad(own, ((0, 0), (0, 0), (0, missing)), constant_values=-np.inf))
        return _stack(films)


_REMEMBERED = 4096


def _stack(films: list[Relation]) -> Tensor | None:
    """One relation (B, 1 or H, F, G) of those of all films; None where nothing is changed anywhere."""
    if not any(each.any() for each in films):
        return None
    heads = max(len(each) for each in films)
    whole = np.stack([np.broadcast_to(each, (heads, *each.shape[1:])) for each in films])
    return torch.from_numpy(np.ascontiguousarray(whole, dtype=np.float64))
