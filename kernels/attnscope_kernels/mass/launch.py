"""Hands tensors to the mass kernels."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from .._chunked import TokenMass
from .._fused import attend_fused
from .._relation import Offsets
from ..attend.launch import constants, grid, run_forward, strides, table_for


def measure_fused(
    query: Tensor,
    key: Tensor,
    value: Tensor | None,
    *,
    query_offsets: Offsets,
    key_offsets: Offsets,
    scale: float,
    relation: Tensor,
) -> TokenMass:
    """Attend and measure in one pass of our own kernel: mass (B, H, F, G), lse (B, H, N), output (B, N, H, D)."""
    output, lse, group_lse = run_forward(
        query,
        key,
        value,
        query_offsets=query_offsets,
        key_offsets=key_offsets,
        scale=scale,
        relation=relation,
        with_groups=True,
    )
    assert group_lse is not None
    return TokenMass(output, lse, _mean(group_lse, lse, query_offsets))


def measure_tokens(
    query: Tensor,
    key: Tensor,
    *,
    query_offsets: Offsets,
    key_offsets: Offsets,
    scale: float,
    relation: Tensor,
) -> TokenMass:
    """Measure what every token gives to each group: mass (B, H, N, G), lse (B, H, N)."""
    _, lse, group_lse = run_forward(
        query,
        key,
        None,
        query_offsets=query_offsets,
        key_offsets=key_offsets,
        scale=scale,
        relation=relation,
        with_groups=True,
    )
    assert group_lse is not None
    return TokenMass(None, lse, torch.exp2(group_lse - lse[..., None] * math.log2(math.e)))


def measure_after(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    query_offsets: Offsets,
    key_offsets: Offsets,
    scale: float,
    relation: Tensor,
) -> TokenMass:
    """Let PyTorch's fused attention make the output, then measure from its log-sum-exp; no relation."""
    q, k, v = (tensor.transpose(1, 2) for tensor in (query, key, value))
    output, lse = attend_fused(q, k, v, scale)
    lse = lse.contiguous()
    mass = mass_given_lse(query, key, lse, query_offsets, key_offsets, scale, relation)
    return TokenMass(output.transpose(1, 2), lse, mass)


def mass_given_lse(
    query: Tensor,
    key: Tensor,
    lse: Tensor,
    query_offsets: Offsets,
    key_offsets: Offsets,
    scale: float,
    relation: Tensor,
) -> Tensor:
    """Mass (B, H, F, G) of attention whose log-sum-exp (B, H, N) is known."""
    from . import kernel

    num_groups = len(key_offsets) - 1
    group_lse = query.new_full((*lse.shape, num_groups), -math.inf, dtype=torch.float32)
    table = table_for("second_pass", query, relation, query_offsets, key_offsets, separate_groups=True)
    tensors = (query, key, lse, group_lse)
    sizes = (query.shape[2], query.shape[1], num_groups, scale * math.log2(math.e))
    chosen = constants("second_pass", query)
    kernel.second_pass[grid(table, query)](*tensors, *table[:5], *strides(query, key), *sizes, **chosen)
    return _mean(group_lse, lse, query_offsets)


def _mean(group_lse: Tensor, lse: Tensor, query_offsets: Offsets) -> Tensor:
    from . import kernel

    batch, num_heads, num_tokens, num_groups = group_lse.shape
    num_frames = len(query_offsets) - 1
    mass = lse.new_empty(batch, num_heads, num_frames, num_groups)
    block = min(64, 1 << (num_groups - 1).bit_length())
    kernel.mean_over_tokens[(num_frames, batch * num_heads, math.ceil(num_groups / block))](
        group_lse, lse, mass, _on(query_offsets, lse.device), num_tokens, num_groups, ROWS=64, BLOCK=block
    )
    return mass


@functools.lru_cache(maxsize=256)
def _on(offsets: Offsets, device: torch.device) -> Tensor:
    return torch.tensor(offsets, dtype=torch.int32, device=device)
