"""Which query group may look at which key group, checked and cut into runs that are computed alike."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypedDict

import torch
from torch import Tensor

Offsets = tuple[int, ...]
"""Cumulative token counts of groups, from 0."""

MAX_BIAS = 1e6
"""Beyond this float32 no longer tells neighbouring biases apart; whoever writes such numbers means -inf."""

_REMEMBERED = 1 << 16  # elements of a relation that is worth remembering

Entries = slice | list[int]
"""Entries of a batch: a slice where they are all, which copies nothing."""


class Grouping(TypedDict):
    """What every implementation is told beside its tensors, all of it checked."""

    query_offsets: Offsets
    key_offsets: Offsets
    scale: float
    relation: Tensor


class RelationError(ValueError):
    """A frame relation (or the group offsets it stands on) that attention cannot be computed with."""


@dataclass(frozen=True)
class Run:
    """Consecutive query groups that see the same key groups with the same bias."""

    first_row: int
    stop_row: int
    groups: tuple[int, ...]
    bias: tuple[float, ...]

    @property
    def is_flat(self) -> bool:
        """Whether every visible group has the same bias, which softmax cannot tell from no bias."""
        return len(set(self.bias)) == 1


def check_inputs(
    query: Tensor,
    key: Tensor,
    value: Tensor | None,
    query_offsets: Sequence[int],
    key_offsets: Sequence[int],
    relation: Tensor | None,
) -> tuple[tuple[int, ...], tuple[int, ...], Tensor]:
    """Return query offsets, key offsets and relation in their checked form, or say what does not fit."""
    for tensor in (key, value):
        if tensor is not None and (tensor.dtype, tensor.device) != (query.dtype, query.device):
            raise ValueError(
                f"expected query, key and value of one type on one device, got {query.dtype} on {query.device} and "
                f"{tensor.dtype} on {tensor.device}, in attention over groups; convert them first"
            )
    if not query.is_floating_point() or 0 in (*query.shape, *key.shape):
        raise ValueError(
            f"expected floating-point tensors with something in them, got {query.dtype} of shapes "
            f"{tuple(query.shape)}, {tuple(key.shape)}, in attention over groups; leave empty ones out"
        )
    alike = query.ndim == 4 and key.ndim == 4 and query[:, 0].shape == key[:, 0].shape
    if not alike or (value is not None and value.shape != key.shape):
        shapes = ", ".join(str(tuple(t.shape)) for t in (query, key, value) if t is not None)
        raise ValueError(
            f"expected query (batch, tokens, heads, head size) and key, value alike but for their tokens, "
            f"got {shapes}, in attention over groups; transpose (batch, heads, tokens, size) first"
        )
    rows = check_offsets(query_offsets, query.shape[1], "query_offsets")
    groups = check_offsets(key_offsets, key.shape[1], "key_offsets")
    num_rows, num_groups = len(rows) - 1, len(groups) - 1
    if relation is None:
        return rows, groups, whole_relation(num_rows, num_groups)
    return rows, groups, check_relation(relation, query.shape[0], query.shape[2], num_rows, num_groups)


def require_scale(scale: float | None, head_size: int) -> float:
    """Return the scale, one over the root of the head size if none is given, or say what is wrong with it."""
    if scale is None:
        return 1.0 / math.sqrt(head_size)
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(
            f"expected a finite scale above 0, got {scale:g}, in attention over groups; leave it out for "
            f"1 / sqrt(head size)"
        )
    return float(scale)


def check_offsets(offsets: Sequence[int], num_tokens: int, name: str) -> tuple[int, ...]:
    """Return the cumulative token counts as a tuple, or say what is wrong with them."""
    counts = tuple(map(int, offsets))
    if torch.compiler.is_compiling():  # a compiler traces what is remembered, and says so
        return _check_counts(counts, num_tokens, name)
    return _recall_counts(counts, num_tokens, name)


def _check_counts(counts: tuple[int, ...], num_tokens: int, name: str) -> tuple[int, ...]:
    rising = all(start < stop for start, stop in itertools.pairwise(counts))
    if len(counts) < 2 or counts[0] != 0 or counts[-1] != num_tokens or not rising:
        raise RelationError(
            f"expected {name} to rise from 0 to the {num_tokens} tokens given, got {_short(counts)}, "
            f"in the grouping of tokens; pass cumulative token counts without empty groups"
        )
    return counts


_recall_counts = functools.lru_cache(maxsize=256)(_check_counts)


def check_relation(relation: Tensor, batch: int, num_heads: int, num_rows: int, num_groups: int) -> Tensor:
    """Return the relation as float64 (batch or 1, heads or 1, F, G) on the CPU, or say what is wrong."""
    given = relation
    if not isinstance(given, Tensor) or not (given.dtype == torch.bool or given.is_floating_point()):
        raise RelationError(
            f"expected a frame relation of bools or floating-point numbers, got "
            f"{getattr(given, 'dtype', type(given).__name__)}, in attention under a frame relation; "
            f"write .bool() if 1 means visible"
        )
    relation = given.detach().to("cpu")
    if relation.dtype == torch.bool:
        relation = torch.zeros(relation.shape, dtype=torch.float64).masked_fill(~relation, -torch.inf)
    relation = relation.to(torch.float64)[(None,) * (4 - relation.ndim)]
    allowed = ((1, batch), (1, num_heads), (num_rows,), (num_groups,))
    if relation.ndim != 4 or any(n not in may for n, may in zip(relation.shape, allowed, strict=True)):
        raise RelationError(
            f"expected a frame relation of shape ({num_rows}, {num_groups}), with heads ({num_heads}) or batch "
            f"({batch}) and heads before it, got {tuple(given.shape)}, in attention under a frame relation; "
            f"give one row per query frame and one column per key group"
        )
    if relation.numel() > _REMEMBERED:
        return _check_numbers(relation)
    return _recall_checked(relation.contiguous().numpy().tobytes(), relation.shape)


@functools.lru_cache(maxsize=256)
def _recall_checked(numbers: bytes, shape: torch.Size) -> Tensor:
    """The same rule comes again at every layer and step; what was found good once is good."""
    return _check_numbers(tensor_of(numbers, shape))


def tensor_of(numbers: bytes, shape: torch.Size) -> Tensor:
    """Return float64 numbers as a tensor on the CPU that can be used in any mode, whichever runs now."""
    with torch.inference_mode(False), torch.device("cpu"):
        return torch.frombuffer(bytearray(numbers), dtype=torch.float64).view(shape).clone()


def _check_numbers(relation: Tensor) -> Tensor:
    if bool(torch.isnan(relation).any()) or bool((relation == torch.inf).any()):
        raise RelationError(
            "expected a frame relation of finite numbers and -inf, got nan or +inf, in attention; "
            "write 0 for visible, -inf for hidden"
        )
    if bool((relation[torch.isfinite(relation)].abs() > MAX_BIAS).any()):
        raise RelationError(
            f"expected a frame relation of numbers from -{MAX_BIAS:g} to {MAX_BIAS:g} and -inf, got larger ones, in "
            f"attention under a frame relation; write -inf for hidden"
        )
    blind = torch.isneginf(relation).all(-1)
    if bool(blind.any()):
        row = int(blind.nonzero()[0, -1])
        raise RelationError(
            f"expected every query frame to see at least one key group, got frame {row} that sees none, "
            f"in attention under a frame relation; leave at least its own frame visible"
        )
    return relation


def check_places(batch: int, num_places: int) -> None:
    """Say so if the batch does not hold whole videos of that many places."""
    if num_places < 1 or batch % num_places:
        raise ValueError(
            f"expected num_places to divide the batch of {batch}, got {num_places}, in frame_mass; "
            f"give height x width of the feature map"
        )


def check_content(content: Tensor, num_rows: int, num_groups: int) -> Tensor:
    """Return what is added in units of the row's largest score, float64 (F, G) on the CPU, or say what is wrong."""
    checked = content.detach().to("cpu", torch.float64)
    if checked.shape != (num_rows, num_groups) or not bool(torch.isfinite(checked).all()):
        raise RelationError(
            f"expected finite content of shape ({num_rows}, {num_groups}), got {tuple(content.shape)}, in attention "
            f"under a frame relation; give one number per query frame and key group, and hide pairs in the relation"
        )
    return checked


def whole_relation(num_rows: int, num_groups: int) -> Tensor:
    """Everybody sees everybody: float64 zeros (1, 1, F, G)."""
    return torch.zeros(1, 1, num_rows, num_groups, dtype=torch.float64)


def is_whole(relation: Tensor) -> bool:
    """Whether a checked relation changes nothing: everybody sees everybody alike."""
    return not bool(relation.any())


def parts(relation: Tensor, batch: int, num_heads: int) -> Iterator[tuple[Entries, list[int], Tensor]]:
    """Yield (batch entries, heads, matrix (F, G)) such that the matrix holds for all of them.

    Entries with the same relation come together, however many there are: a UNet's temporal attention has tens of
    thousands.
    """
    heads_of: dict[tuple[bytes, ...], list[int]] = {}
    for entry, matrices in enumerate(relation):
        heads_of.setdefault(tuple(matrix.numpy().tobytes() for matrix in matrices), []).append(entry)
    for matrices, found in heads_of.items():
        entries: Entries = slice(0, batch) if len(heads_of) == 1 else found
        alike: dict[bytes, list[int]] = {}
        for head, matrix in enumerate(matrices):
            alike.setdefault(matrix, []).append(head)
        for heads in alike.values():
            example = relation[found[0], heads[0]]
            yield entries, heads if relation.shape[1] > 1 else list(range(num_heads)), example


def runs(matrix: Tensor) -> list[Run]:
    """Cut the rows of a relation (F, G) where they change; hidden groups are left out of each run."""
    rows = matrix.tolist()
    found: list[Run] = []
    for index, row in enumerate(rows):
        if index and row == rows[index - 1]:
            last = found[-1]
            found[-1] = Run(last.first_row, index + 1, last.groups, last.bias)
            continue
        seen = tuple(group for group, value in enumerate(row) if value != -torch.inf)
        found.append(Run(index, index + 1, seen, tuple(row[group] for group in seen)))
    return found


def single_rows(matrix: Tensor) -> list[Run]:
    """One run for every row of a relation (F, G), where something beside the relation may differ between rows."""
    return [
        Run(index + run.first_row, index + 1, run.groups, run.bias)
        for index, row in enumerate(matrix)
        for run in runs(row[None])
    ]


def _short(counts: tuple[int, ...]) -> str:
    return str(counts) if len(counts) <= 6 else f"({counts[0]}, {counts[1]}, ..., {counts[-1]})"
