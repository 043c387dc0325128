"""Interventions at the hook points of a window: which rule holds at this call, and its numbers as a tensor.

Legend: B batch, H heads, N query tokens, M key tokens, D head size, F query groups, G key groups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from attnscope.errors import MaskError
from attnscope.hooks import Attachment, Call, HookPoint
from attnscope.intervening.captions import ShotText
from attnscope.layout import PADDING_TOKEN
from attnscope.masks import Group, Intervention, Sides, compile_rule
from attnscope.masks.presets import CINETRANS
from attnscope.masks.rules import Relation
from attnscope.ranges import parse_range

if TYPE_CHECKING:
    from torch import Tensor

_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Placed:
    """An intervention whose layers and heads are known for this model."""

    intervention: Intervention
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    num_heads: int

    @property
    def all_heads(self) -> bool:
        """Whether every head is meant."""
        return len(self.heads) == self.num_heads


def place(interventions: Sequence[Intervention], window: Attachment) -> tuple[Placed, ...]:
    """Read the ranges of interventions for a model.

    Raises
    ------
    RangeError
        A layer or head that the model does not have.
    MaskError
        Layers that are meant for another architecture.
    """
    denoiser = next(iter(window.family.denoisers(window.model).values()))
    found = []
    for each in interventions:
        _require_architecture(each, window)
        layers = parse_range(each.layers, tuple(window.taps), name="layers")
        modules = (window.taps[layer].site.module for layer in layers)
        attentions: list[Any] = [denoiser.get_submodule(module) for module in modules]
        num_heads = min(int(attention.heads) for attention in attentions)
        heads = parse_range(each.heads, range(num_heads), name="heads")
        found.append(Placed(each, layers, heads, num_heads))
    return tuple(found)


def _require_architecture(intervention: Intervention, window: Attachment) -> None:
    here = window.family.architecture
    if intervention.architecture not in ("any", here):
        raise MaskError(
            expected=(
                f"a {intervention.architecture} for layers {intervention.layers} "
                "of the mask, which were published for one"
            ),
            got=f"{type(window.model).__name__}, a {here}",
            where="in intervene",
            remedy=f"use preset {CINETRANS[here]}, or name layers",
        )


class Masker:
    """Writes the numbers of interventions to the mask points of a window, call by call."""

    def __init__(self, window: Attachment, placed: Sequence[Placed], text: ShotText | None) -> None:
        self._window, self._placed, self._text = window, tuple(placed), text
        self._stride = window.family.temporal_stride(window.model)
        self._known: dict[tuple[Any, ...], Tensor | None] = {}
        self._steps: dict[int, frozenset[int]] = {}
        self._seen: dict[str, Tensor] = {}

    def listen(self, undo: ExitStack) -> None:
        """Begin to write; `undo` ends it."""
        for layer, tap in self._window.taps.items():
            mine = [
                index
                for index, each in enumerate(self._placed)
                if layer in each.layers and each.intervention.attention != "cross"
            ]
            if mine:
                self._add(undo, tap.hook_mask, self._on_frames(mine))
                if any(self._placed[index].intervention.rule.needs_largest for index in mine):
                    for point in (tap.hook_q, tap.hook_k):
                        self._add(undo, point, self._remember)
        if self._text is not None:
            for layer, tap in self._window.cross_taps.items():
                mine = [
                    index
                    for index, each in enumerate(self._placed)
                    if layer in each.layers and each.intervention.attention != "self"
                ]
                self._add(undo, tap.hook_mask, self._on_text(mine))

    def _add(self, undo: ExitStack, point: Any, hook: Callable[[Tensor, HookPoint], Tensor | None]) -> None:
        undo.callback(self._window.listen(point.name, hook))

    def _remember(self, value: Tensor, point: HookPoint) -> None:
        self._seen[point.name] = value

    def _on_frames(self, mine: list[int]) -> Callable[[Tensor, HookPoint], Tensor | None]:
        def write(relation: Tensor, point: HookPoint) -> Tensor | None:
            segments = self._window.layout.segments
            groups = tuple(Group(segment.kind, segment.index) for segment in segments)
            sides = Sides.joint(groups, stride=self._stride, sigma=point.call.sigma)
            return _added(
                relation, [self._numbers(i, sides, point) for i in mine if self._holds(i, point.call)]
            )

        return write

    def _on_text(self, mine: list[int]) -> Callable[[Tensor, HookPoint], Tensor | None]:
        def write(relation: Tensor, point: HookPoint) -> Tensor | None:
            import torch

            text = self._text
            # The other branch reads one prompt, the negative one. Repeated for every shot and routed to it, as
            # CineTrans does, the same keys would be seen several times over, which softmax cannot tell from once.
            if text is None or point.call.branch == "uncond":
                return None
            num_frames, num_tokens = relation.shape
            if num_tokens != len(text.slab_of_token):
                raise MaskError(
                    expected=f"the {len(text.slab_of_token)} text tokens of the shot captions",
                    got=f"{num_tokens}",
                    where=f"at {point.name}",
                    remedy="call the pipeline with prompt_embeds=text.embeds and without a prompt",
                )
            sides = text.sides(num_frames, stride=self._stride, sigma=point.call.sigma)
            counted = torch.tensor(text.bias_of_token, dtype=torch.float64).expand(num_frames, -1)
            numbers = [self._numbers(i, sides, point) for i in mine if self._holds(i, point.call)]
            return _added(relation, [counted, *numbers])

        return write

    def _holds(self, index: int, call: Call) -> bool:
        """Whether an intervention is meant for this call."""
        scope = self._placed[index].intervention
        if call.branch in ("cond", "uncond") and call.branch not in scope.branches:
            return False
        low, high = scope.sigmas
        if (low, high) != (0.0, 1.0) and not low <= call.sigma <= high:
            return False
        return scope.steps == "all" or call.step in self._wanted_steps(index)

    def _wanted_steps(self, index: int) -> frozenset[int]:
        if index not in self._steps:
            timesteps = getattr(getattr(self._window.model, "scheduler", None), "timesteps", None)
            if timesteps is None:
                raise MaskError(
                    expected="a pipeline that counts its steps",
                    got=f"{type(self._window.model).__name__} for an intervention",
                    where="at chosen steps",
                    remedy="intervene in the pipeline, or at noise levels",
                )
            chosen = parse_range(self._placed[index].intervention.steps, range(len(timesteps)), name="steps")
            self._steps[index] = frozenset(chosen)
        return self._steps[index]

    def _numbers(self, index: int, sides: Sides, point: HookPoint) -> Tensor | None:
        """The relation of one intervention, (F, G), (H, F, G) or (B, H, F, G); None if it has nothing to say."""
        placed = self._placed[index]
        if placed.intervention.rule.needs_largest:
            return self._scaled(placed, sides, point)
        key = (index, sides.queries, sides.keys, sides.sigma)
        if key not in self._known:
            relation = compile_rule(placed.intervention.rule, sides)
            self._known[key] = _as_tensor(relation, placed) if relation.any() else None
        return self._known[key]

    def _scaled(self, placed: Placed, sides: Sides, point: HookPoint) -> Tensor:
        """The relation of a rule in units of the largest score, which every video, head and frame has its own of."""
        import torch

        query, key = (self._seen[point.name.replace("hook_mask", f"hook_{side}")] for side in ("q", "k"))
        layout = self._window.layout
        seen = torch.from_numpy(layout.token_frame() != PADDING_TOKEN).to(key.device)
        largest = largest_scores(query, key[:, seen], layout.offsets)
        heads = self._window.heads
        own = slice(0, placed.num_heads) if heads is None else heads.of(placed.num_heads)
        found = torch.zeros(len(largest), placed.num_heads, *sides.shape, dtype=torch.float64)
        for entry in range(len(largest)):
            for head in set(placed.heads) & set(range(own.start, own.stop)):
                known = replace(sides, largest=tuple(largest[entry, head - own.start].tolist()))
                found[entry, head] = torch.from_numpy(compile_rule(placed.intervention.rule, known))
        return found


def largest_scores(query_BNHD: Tensor, key_BMHD: Tensor, offsets: Sequence[int]) -> Tensor:
    """Return the largest score of a query token, as a mean over the tokens of each group: (B, H, F), float64."""
    import torch

    scale = float(query_BNHD.shape[-1]) ** -0.5
    key_BHMD = key_BMHD.transpose(1, 2).float()
    parts = []
    for rows in torch.split(query_BNHD, _ROWS_AT_ONCE, 1):
        scores = rows.transpose(1, 2).float() @ key_BHMD.transpose(-1, -2)
        parts.append(scores.amax(-1) * scale)
    of_token = torch.cat(parts, -1).double().cpu()
    return torch.stack([of_token[..., start:stop].mean(-1) for start, stop in pairwise(offsets)], -1)


def _as_tensor(relation: Relation, placed: Placed) -> Tensor:
    import torch

    numbers = torch.from_numpy(np.ascontiguousarray(relation))
    if placed.all_heads:
        return numbers
    per_head = torch.zeros(placed.num_heads, *numbers.shape, dtype=numbers.dtype)
    per_head[list(placed.heads)] = numbers
    return per_head


def _added(relation: Tensor, numbers: Sequence[Tensor | None]) -> Tensor | None:
    there = [each for each in numbers if each is not None]
    if not there:
        return None
    total = relation.double()
    for each in there:
        total = total + each
    return total
