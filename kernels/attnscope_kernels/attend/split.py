"""Attention under a frame relation as a few ordinary attention calls on sliced keys.

Query frames with the same relation row form a run; hidden keys are sliced away, so they cost nothing and what
they hold cannot leak; a bias that differs between visible groups is one number per key, never a token x token
mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .._relation import Run, parts, runs, token_bias, visible


def attend_by_runs(
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
    num_heads = query.shape[2]
    batches: dict[int, list[tuple[list[int], Tensor]]] = {}
    for entries, heads, matrix in parts(relation, query.shape[0], num_heads):
        tensors = [
            t[entries] if len(heads) == num_heads else t[entries][:, :, heads] for t in (query, key, value)
        ]
        rows = [_attend(tensors, run, query_offsets, key_offsets, scale) for run in runs(matrix)]
        batches.setdefault(entries.start, []).append((heads, torch.cat(rows, 1)))
    return torch.cat([_in_order(found) for found in batches.values()], 0)


def _attend(
    tensors: list[Tensor], run: Run, query_offsets: Sequence[int], key_offsets: Sequence[int], scale: float
) -> Tensor:
    start, stop = query_offsets[run.first_row], query_offsets[run.stop_row]
    q = tensors[0][:, start:stop].transpose(1, 2)
    k, v = (visible(tensor, 1, key_offsets, run.groups).transpose(1, 2) for tensor in tensors[1:])
    mask = None if run.is_flat else token_bias(run, key_offsets, q)[None, None, None]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale).transpose(1, 2)


def _in_order(found: list[tuple[list[int], Tensor]]) -> Tensor:
    if len(found) == 1:
        return found[0][1]
    heads = [head for some, _ in found for head in some]
    order = sorted(range(len(heads)), key=heads.__getitem__)
    return torch.cat([output for _, output in found], 2)[:, :, order]
