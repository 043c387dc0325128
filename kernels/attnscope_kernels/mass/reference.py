"""The frame mass by its definition, with the whole token x token map: small inputs and tests only."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .._chunked import TokenMass
from .._dense import dense_scores
from .._groups import mean_over_rows, sum_over_groups


def measure_densely(
    query: Tensor,
    key: Tensor,
    value: Tensor | None,
    *,
    query_offsets: Sequence[int],
    key_offsets: Sequence[int],
    scale: float,
    relation: Tensor,
) -> TokenMass:
    """Compute mass (B, H, F, G), lse (B, H, N) and output (B, N, H, D), differentiable, in float64 if given so."""
    scores = dense_scores(
        query, key, query_offsets=query_offsets, key_offsets=key_offsets, scale=scale, relation_BHFG=relation
    )
    pattern = scores.softmax(-1)
    output = None
    if value is not None:
        output = torch.einsum("bhnm,bmhd->bnhd", pattern, value.to(pattern.dtype)).to(query.dtype)
    mass = mean_over_rows(sum_over_groups(pattern, key_offsets), query_offsets)
    return TokenMass(output, scores.logsumexp(-1), mass)
