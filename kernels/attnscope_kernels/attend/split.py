"""Attention under a frame relation as a few ordinary attention calls on sliced keys.

Query frames with the same relation row form a run; hidden keys are sliced away, so they cost nothing and what
they hold cannot leak; a bias that differs between visible groups is one number per key, never a token x token
mask. Where the queries of a video all see alike and videos of a batch do not, as with texts of their own, one call
with a number per key and video does.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from .._fused import attend_fused
from .._groups import select_groups
from .._relation import Run, parts, runs
from .joined import attend_joined, bias_of_run, can_join

# On a CPU attention in these is slower than in float32 with the way there and back: 1.25 to 1.5 times at 13 x 16
# tokens, as fast at 21 x 64 and 21 x 256 (bfloat16, one thread with avx512_bf16, processor time).
_SIXTEEN_BITS = (torch.bfloat16, torch.float16)


def attend_by_runs(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    query_offsets: Sequence[int],
    key_offsets: Sequence[int],
    scale: float,
    relation: Tensor,
    with_lse: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Return softmax(scale * Q K^T + bias) V, (batch, tokens, heads, head size), and lse (batch, heads, tokens)."""
    batch, _, num_heads, _ = query.shape
    alone = list(parts(relation, batch, num_heads))
    if len(alone) > 1 and not with_lse and bool((relation == relation[:, :, :1]).all()):
        return _attend_alike((query, key, value), relation[:, :, :1], key_offsets, scale), None
    found = []
    for entries, heads, matrix in alone:
        q, k, v = (
            t[entries] if len(heads) == num_heads else t[entries][:, :, heads] for t in (query, key, value)
        )
        output, lse = _attend_runs((q, k, v), runs(matrix), query_offsets, key_offsets, scale, with_lse)
        found.append((range(batch)[entries] if isinstance(entries, slice) else entries, heads, output, lse))
    if len(found) == 1:
        return found[0][2], found[0][3]
    # one line for each batch entry and head, put back in order; indexing keeps the gradient
    line = [entry * num_heads + head for entries, heads, *_ in found for entry in entries for head in heads]
    order = torch.tensor(line, device=query.device).argsort()
    output = torch.cat([part[2].transpose(1, 2).flatten(0, 1) for part in found])[order]
    output = torch.unflatten(output, 0, (batch, num_heads)).transpose(1, 2)
    if not with_lse:
        return output, None
    lse = torch.cat([part[3].flatten(0, 1) for part in found if part[3] is not None])[order]
    return output, torch.unflatten(lse, 0, (batch, num_heads))


def _attend_alike(
    tensors: tuple[Tensor, Tensor, Tensor], relation: Tensor, key_offsets: Sequence[int], scale: float
) -> Tensor:
    """Attend where all queries see alike: relation (batch or 1, heads or 1, 1, G)."""
    q, k, v = (tensor.transpose(1, 2) for tensor in tensors)
    relative = relation - relation.amax(-1, keepdim=True)
    sizes = [stop - start for start, stop in pairwise(key_offsets)]
    lengths = torch.tensor(sizes, device=relation.device)
    mask = relative.repeat_interleave(lengths, -1).to(q)
    hidden = mask.isneginf().transpose(-1, -2)
    # a product with 0 would let through what is no number
    k, v = (tensor.masked_fill(hidden, 0.0) for tensor in (k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale).transpose(1, 2)


def _attend_runs(
    tensors: tuple[Tensor, Tensor, Tensor],
    cut: Sequence[Run],
    query_offsets: Sequence[int],
    key_offsets: Sequence[int],
    scale: float,
    with_lse: bool,
) -> tuple[Tensor, Tensor | None]:
    """Attend run by run, under one relation for all entries and heads that are given."""
    if len(cut) > 1 and not with_lse and can_join(*tensors):
        return attend_joined(*tensors, cut, query_offsets, key_offsets, scale), None
    rows = [_attend(tensors, run, query_offsets, key_offsets, scale, with_lse) for run in cut]
    output = rows[0][0] if len(rows) == 1 else torch.cat([row[0] for row in rows], 1)
    return output, torch.cat([row[1] for row in rows if row[1] is not None], 2) if with_lse else None


def _attend(
    tensors: tuple[Tensor, Tensor, Tensor],
    run: Run,
    query_offsets: Sequence[int],
    key_offsets: Sequence[int],
    scale: float,
    with_lse: bool,
) -> tuple[Tensor, Tensor | None]:
    start, stop = query_offsets[run.first_row], query_offsets[run.stop_row]
    q = tensors[0][:, start:stop].transpose(1, 2)
    k, v = (select_groups(tensor, 1, key_offsets, run.groups).transpose(1, 2) for tensor in tensors[1:])
    if q.device.type == "cpu" and q.dtype in _SIXTEEN_BITS:
        q, k, v = (each.float() for each in (q, k, v))
    mask = bias_of_run(run, key_offsets, q)
    if not with_lse:
        output = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
        return output.transpose(1, 2).to(tensors[0].dtype), None
    output, lse = attend_fused(q, k, v, scale, mask)
    return output.transpose(1, 2).to(tensors[0].dtype), lse + max(run.bias)
