"""Attention under a frame relation by its definition, with the whole token x token map: small inputs and tests only."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .._dense import dense_scores


def attend_densely(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    query_offsets: Sequence[int],
    key_offsets: Sequence[int],
    scale: float,
    relation: Tensor,
    content: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return softmax(scores) V, (batch, tokens, heads, head size), and lse (batch, heads, tokens), differentiable."""
    scores = dense_scores(
        query,
        key,
        query_offsets=query_offsets,
        key_offsets=key_offsets,
        scale=scale,
        relation_BHFG=relation,
        content_FG=content,
    )
    pattern = scores.softmax(-1)
    output = torch.einsum("bhnm,bmhd->bnhd", pattern, value.to(pattern.dtype)).to(query.dtype)
    return output, scores.logsumexp(-1)
