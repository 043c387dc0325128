"""The frame mass by its definition, with the whole token x token map: small inputs and tests only.

Legend: B batch, N query tokens, M key tokens, H heads, D head size, F query groups, G key groups.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor


def dense_scores(
    query_BNHD: Tensor,
    key_BMHD: Tensor,
    *,
    query_offsets: Sequence[int],
    key_offsets: Sequence[int],
    scale: float,
    relation_BHFG: Tensor | None,
) -> Tensor:
    """Return scale * Q K^T + bias, (B, H, N, M), in float64 for float64 input and float32 otherwise."""
    wide = torch.float64 if query_BNHD.dtype == torch.float64 else torch.float32
    scores_BHNM = torch.einsum("bnhd,bmhd->bhnm", query_BNHD.to(wide), key_BMHD.to(wide)) * scale
    if relation_BHFG is None:
        return scores_BHNM
    rows = group_of_token(query_offsets, scores_BHNM.device)
    columns = group_of_token(key_offsets, scores_BHNM.device)
    return scores_BHNM + relation_BHFG.to(scores_BHNM)[:, :, rows][..., columns]


def reduce_pattern(pattern_BHNM: Tensor, query_offsets: Sequence[int], key_offsets: Sequence[int]) -> Tensor:
    """Sum a token x token pattern over key groups and average it over query groups: (B, H, F, G)."""
    return mean_over_rows(sum_over_groups(pattern_BHNM, key_offsets), query_offsets)


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
