"""From tokens to groups and back: sums, means, slices, given cumulative token counts.

Legend: B batch, H heads, N query tokens, M key tokens.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor


def sum_over_groups(pattern_BHNM: Tensor, key_offsets: Sequence[int]) -> Tensor:
    """Sum the last dimension within each key group."""
    lengths = {stop - start for start, stop in itertools.pairwise(key_offsets)}
    if len(lengths) == 1:
        return pattern_BHNM.reshape(*pattern_BHNM.shape[:-1], len(key_offsets) - 1, lengths.pop()).sum(-1)
    spans = itertools.pairwise(key_offsets)
    return torch.stack([pattern_BHNM[..., start:stop].sum(-1) for start, stop in spans], dim=-1)


def mean_over_rows(token: Tensor, query_offsets: Sequence[int]) -> Tensor:
    """Average the second-last dimension within each query group."""
    lengths = {stop - start for start, stop in itertools.pairwise(query_offsets)}
    if len(lengths) == 1:
        *before, _, num_groups = token.shape
        return token.reshape(*before, len(query_offsets) - 1, lengths.pop(), num_groups).mean(-2)
    spans = itertools.pairwise(query_offsets)
    return torch.stack([token[..., start:stop, :].mean(-2) for start, stop in spans], dim=-2)


def group_of_token(offsets: Sequence[int], device: torch.device) -> Tensor:
    """Return, for every token, the index of the group it belongs to."""
    lengths = torch.tensor([stop - start for start, stop in itertools.pairwise(offsets)])
    return torch.arange(len(offsets) - 1).repeat_interleave(lengths).to(device)


def select_groups(tensor: Tensor, dim: int, offsets: Sequence[int], groups: Sequence[int]) -> Tensor:
    """Keep the tokens of the visible groups: a view where they adjoin, one copy where they do not."""
    pieces = [tensor.narrow(dim, start, stop - start) for start, stop in spans_of(offsets, groups)]
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim)


def spans_of(offsets: Sequence[int], groups: Sequence[int]) -> list[tuple[int, int]]:
    """List where the tokens of groups start and stop, those of groups that adjoin as one span."""
    spans: list[tuple[int, int]] = []
    for group in groups:
        first = spans.pop()[0] if spans and spans[-1][1] == offsets[group] else offsets[group]
        spans.append((first, offsets[group + 1]))
    return spans


def token_bias(bias: Sequence[float], groups: Sequence[int], offsets: Sequence[int], like: Tensor) -> Tensor:
    """Spread one number a group over the key tokens of these groups: (tokens,), dtype and device of `like`."""
    lengths = torch.tensor([offsets[group + 1] - offsets[group] for group in groups])
    return torch.tensor(bias, dtype=torch.float64).repeat_interleave(lengths).to(like)


def dense_heads(tensor: Tensor) -> Tensor:
    """Return the tensor with the elements of a head side by side; fused calls and kernels step through them so."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()
