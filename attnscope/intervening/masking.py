"""Interventions at the hook points of an attachment: which rule holds at this call, and its numbers as a tensor.

Legend: B batch, H heads, N query tokens, M key tokens, D head size, F query groups, G key groups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from attnscope.errors import MaskError
from attnscope.families.layout import PADDING_TOKEN
from attnscope.families.rehearsing import num_steps_of
from attnscope.hooks import Attachment, Call, HookPoint
from attnscope.intervening.captions import ShotText
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


def place(interventions: Sequence[Intervention], attachment: Attachment) -> tuple[Placed, ...]:
    """Read the ranges of interventions for a model.

    Raises
    ------
    RangeError
        A layer or head that the model does not have.
    MaskError
        Layers that are meant for another architecture.
    """
    denoiser = next(iter(attachment.family.denoisers(attachment.model).values()))
    found = []
    for each in interventions:
        _require_architecture(each, attachment)
        layers = parse_range(each.layers, tuple(attachment.taps), name="layers")
        modules = (attachment.taps[layer].site.module for layer in layers)
        attentions: list[Any] = [denoiser.get_submodule(module) for module in modules]
        num_heads = min(int(attention.heads) for attention in attentions)
        heads = parse_range(each.heads, range(num_heads), name="heads")
        found.append(Placed(each, layers, heads, num_heads))
    return tuple(found)


def _require_architecture(intervention: Intervention, attachment: Attachment) -> None:
    here = attachment.family.architecture
    if intervention.architecture not in ("any", here):
        raise MaskError(
            expected=(
                f"a {intervention.architecture} for layers {intervention.layers} "
                "of the mask, which were published for one"
            ),
            got=f"{type(attachment.model).__name__}, a {here}",
            where="in intervene",
            remedy=f"use preset {CINETRANS[here]}, or name layers",
        )


class Masker:
    """Writes the numbers of interventions to the mask points of an attachment, call by call."""

    def __init__(self, attachment: Attachment, placed: Sequence[Placed], text: ShotText | None) -> None:
        self._attachment, self._placed, self._text = attachment, tuple(placed), text

    def listen(self, undo: ExitStack) -> None:
        """Begin to write; `undo` ends it."""
        numbers = _Numbers(self._attachment, self._placed)
        # Where no attention is to the text alone, the text shares that of the frames.
        shared = None if self._attachment.cross_taps else self._text
        if shared is not None:
            undo.callback(self._attachment.divide_text(shared.divide))
        for layer, tap in self._attachment.taps.items():
            acting = self._find_acting(layer, besides="cross")
            reading = None
            if shared is not None:
                reading = [index for index in self._find_acting(layer, besides="self") if index not in acting]
            if acting or reading is not None:
                self._add(undo, tap.hook_mask, _OnFrames(numbers, acting, reading))
                if any(self._placed[index].intervention.rule.needs_largest for index in acting):
                    for point in (tap.hook_q, tap.hook_k):
                        self._add(undo, point, numbers.remember)
        if self._text is not None:
            for layer, tap in self._attachment.cross_taps.items():
                acting = self._find_acting(layer, besides="self")
                self._add(undo, tap.hook_mask, _OnText(numbers, acting, self._text))

    def _find_acting(self, layer: int, *, besides: str) -> list[int]:
        """Which of the interventions act in a layer, besides those for the other kind of attention."""
        return [
            index
            for index, each in enumerate(self._placed)
            if layer in each.layers and each.intervention.attention != besides
        ]

    def _add(
        self, undo: ExitStack, point: HookPoint, hook: Callable[[Tensor, HookPoint], Tensor | None]
    ) -> None:
        undo.callback(self._attachment.listen(point.name, hook))


class _Numbers:
    """What interventions add to attention, for the call that runs; what was compiled once is remembered."""

    def __init__(self, attachment: Attachment, placed: tuple[Placed, ...]) -> None:
        self.attachment = attachment
        self.stride = attachment.family.temporal_stride(attachment.model)
        self._placed = placed
        self._compiled: dict[tuple[object, ...], Tensor | None] = {}
        self._steps: dict[tuple[int, int], frozenset[int]] = {}
        self._seen: dict[str, Tensor] = {}

    def remember(self, value: Tensor, point: HookPoint) -> None:
        """Keep the query or key of the call that runs: a listener."""
        self._seen[point.name] = value

    def of(self, acting: Sequence[int], sides: Sides, point: HookPoint) -> list[Tensor]:
        """Return the relations of those interventions that are meant for the call that runs."""
        found = [self._of_one(index, sides, point) for index in acting if self._holds(index, point.call)]
        return [each for each in found if each is not None]

    def _holds(self, index: int, call: Call) -> bool:
        """Whether an intervention is meant for this call."""
        scope = self._placed[index].intervention
        if call.branch in ("cond", "uncond") and call.branch not in scope.branches:
            return False
        low, high = scope.sigmas
        if (low, high) != (0.0, 1.0) and not low <= call.sigma <= high:
            return False
        return scope.steps == "all" or call.step in self._find_steps(index)

    def _find_steps(self, index: int) -> frozenset[int]:
        num_steps = num_steps_of(self.attachment.model)
        if not num_steps:
            raise MaskError(
                expected="a pipeline that counts its steps",
                got=f"{type(self.attachment.model).__name__}",
                where="for an intervention at chosen steps",
                remedy="intervene in the pipeline, or at noise levels",
            )
        if (index, num_steps) not in self._steps:
            steps = parse_range(self._placed[index].intervention.steps, range(num_steps), name="steps")
            self._steps[index, num_steps] = frozenset(steps)
        return self._steps[index, num_steps]

    def _of_one(self, index: int, sides: Sides, point: HookPoint) -> Tensor | None:
        """The relation of one intervention, (F, G), (H, F, G) or (B, H, F, G); None if it has nothing to say."""
        placed = self._placed[index]
        if placed.intervention.rule.needs_largest:
            return self._scale(placed, sides, point)
        key = (index, sides.queries, sides.keys, sides.sigma)
        if key not in self._compiled:
            relation = compile_rule(placed.intervention.rule, sides)
            self._compiled[key] = _as_tensor(relation, placed) if relation.any() else None
        return self._compiled[key]

    def _scale(self, placed: Placed, sides: Sides, point: HookPoint) -> Tensor:
        """The relation of a rule in units of the largest score, which every video, head and frame has its own of."""
        import torch

        query, key = (self._seen[point.name.replace("hook_mask", f"hook_{side}")] for side in ("q", "k"))
        layout = self.attachment.layout
        seen = torch.from_numpy(layout.token_frame() != PADDING_TOKEN).to(key.device)
        largest = largest_scores(query, key[:, seen], layout.offsets)
        heads = self.attachment.heads
        own = slice(0, placed.num_heads) if heads is None else heads.of(placed.num_heads)
        found = torch.zeros(len(largest), placed.num_heads, *sides.shape, dtype=torch.float64)
        for entry in range(len(largest)):
            for head in set(placed.heads) & set(range(own.start, own.stop)):
                known = replace(sides, largest=tuple(largest[entry, head - own.start].tolist()))
                found[entry, head] = torch.from_numpy(compile_rule(placed.intervention.rule, known))
        return found


@dataclass(frozen=True)
class _OnFrames:
    """Writes to the mask point of a self-attention, which text may share: a listener.

    `acting` are the interventions on all that is there, `reading` those on what is between text and the rest, where
    captions of shots are read; None where there are none.
    """

    numbers: _Numbers
    acting: Sequence[int]
    reading: Sequence[int] | None = None

    def __call__(self, relation: Tensor, point: HookPoint) -> Tensor | None:
        segments = self.numbers.attachment.layout.segments
        groups = tuple(Group(segment.kind, segment.index) for segment in segments)
        sides = Sides.joint(groups, stride=self.numbers.stride, sigma=point.call.sigma)
        written = self.numbers.of(self.acting, sides, point)
        if self.reading is None:
            return _sum(relation, written)
        of_frames = sides.pairs(("frame",), ("frame",))
        if point.call.branch == "uncond":
            # The negative prompt stands in the first slab; nobody sees the others, which are there to fill it up.
            absent = _hide_slabs(sides, first=1)
            return _sum(relation, [*(_keep(each, of_frames) for each in written), absent])
        read = (_keep(each, ~of_frames) for each in self.numbers.of(self.reading, sides, point))
        return _sum(relation, [*written, *read])


@dataclass(frozen=True)
class _OnText:
    """Writes to the mask point of a cross-attention to captions of shots: a listener."""

    numbers: _Numbers
    acting: Sequence[int]
    text: ShotText

    def __call__(self, relation: Tensor, point: HookPoint) -> Tensor | None:
        import torch

        num_frames, num_tokens = relation.shape
        # The other branch reads one prompt, the negative one. Repeated for every shot and routed to it, as
        # CineTrans does, the same keys would be seen several times over, which softmax cannot tell from once.
        # Where it shares a call with the captions, tokens behind it make it as long as they are.
        if point.call.branch == "uncond":
            there = torch.arange(num_tokens) < (self.text.num_negative or num_tokens)
            return _sum(relation, [] if bool(there.all()) else [torch.where(there, 0.0, -torch.inf)])
        if num_tokens != len(self.text.slab_of_token):
            raise MaskError(
                expected=f"the {len(self.text.slab_of_token)} text tokens of the shot captions",
                got=f"{num_tokens}",
                where=f"at {point.name}",
                remedy="call the pipeline with **text.arguments and without a prompt",
            )
        sides = self.text.sides(num_frames, stride=self.numbers.stride, sigma=point.call.sigma)
        counted = torch.tensor(self.text.bias_of_token, dtype=torch.float64).expand(num_frames, -1)
        return _sum(relation, [counted, *self.numbers.of(self.acting, sides, point)])


def _hide_slabs(sides: Sides, *, first: int) -> Tensor:
    """Hide the texts of slab `first` and those behind it from all but themselves: 0 and -inf (F, G)."""
    import torch

    slab = torch.tensor([each.index if each.kind == "text" else -1 for each in sides.keys])
    hidden = (slab >= first) & (slab[:, None] != slab)
    return torch.zeros(hidden.shape, dtype=torch.float64).masked_fill(hidden, -torch.inf)


def _keep(numbers: Tensor, pairs: NDArray[np.bool_]) -> Tensor:
    """Keep what is written on some pairs of groups, and write nothing on the others."""
    import torch

    return torch.where(torch.from_numpy(pairs), numbers, 0.0)


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


def _sum(relation: Tensor, numbers: Sequence[Tensor]) -> Tensor | None:
    total = relation.double()
    for each in numbers:
        total = total + each
    return total if numbers else None
