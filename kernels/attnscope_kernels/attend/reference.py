"""Attention under a frame relation by its definition, with the whole token x token map: tests only."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..mass.reference import dense_scores


def attend_densely(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    query_offsets: Sequence[int],
    key_offsets: Sequence[int],
    scale: float,
    relation: Tensor,
) -> Tensor:
    """Return softmax(scale * Q K^T + bias) V, (batch, tokens, heads, head size), differentiable."""
    scores = dense_scores(
        query, key, query_offsets=query_offsets, key_offsets=key_offsets, scale=scale, relation_BHFG=relation
    )
    pattern = scores.softmax(-1)
    return torch.einsum("bhnm,bmhd->bnhd", pattern, value.to(pattern.dtype)).to(query.dtype)
