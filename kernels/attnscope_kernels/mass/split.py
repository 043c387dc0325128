"""The frame mass from one fused attention call per key group, merged through their log-sum-exps.

    O = sum_g w_g O_g    w_g = exp(lse_g - lse)    lse = log sum_g exp lse_g    mass[f, g] = mean over i in f of w_ig

The softmax over the log-sum-exps of the groups *is* the mass. Exact; rides on the fastest attention there is.

Legend: B batch, H heads, N query tokens, D head size, G groups.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .._chunked import TokenMass, index_of
from .._fused import attend_fused
from .._groups import mean_over_rows
from .._relation import Run, parts, runs

# Sums of shares stay far from the largest float32.
MAX_TOTAL = 1e26

# Elements of the output that are merged at a time: more leave the cache of a CPU between two groups (1.19 against
# 1.11 times plain attention at 21 x 256 tokens, 12 x 128).
BLOCK_ELEMENTS = 1 << 22


def measure_by_groups(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    query_offsets: Sequence[int],
    key_offsets: Sequence[int],
    scale: float,
    relation: Tensor,
) -> TokenMass:
    """Compute mass (B, H, F, G), lse (B, H, N) and output (B, N, H, D); no gradient."""
    batch, num_tokens, num_heads, _ = query.shape
    wide = torch.float64 if query.dtype == torch.float64 else torch.float32
    mass = query.new_zeros(batch, num_heads, len(query_offsets) - 1, len(key_offsets) - 1, dtype=wide)
    lse = query.new_empty(batch, num_heads, num_tokens, dtype=wide)
    output = torch.empty(query.shape, dtype=query.dtype, device=query.device)
    for entries, heads, matrix in parts(relation, batch, num_heads):
        where = index_of(list(range(batch)) if isinstance(entries, slice) else entries, heads)
        for run in runs(matrix):
            start, stop = query_offsets[run.first_row], query_offsets[run.stop_row]
            q, k, v = (t.transpose(1, 2)[where] for t in (query[:, start:stop], key, value))
            shares = []
            for rows in _blocks(q):
                merged, share, total, level = _merge(q[:, :, rows], k, v, key_offsets, scale, run, wide)
                rest = total.reciprocal()
                merged *= rest[..., None]
                shares.append(share.mul_(rest))
                there = slice(start + rows.start, start + rows.stop)
                output.transpose(1, 2)[:, :, there][where] = merged.to(output.dtype)
                lse[:, :, there][where] = level + total.log_()
            offsets = [offset - start for offset in query_offsets[run.first_row : run.stop_row + 1]]
            token = torch.cat(shares, -1)
            seen = mass[:, :, run.first_row : run.stop_row][where]
            seen[..., list(run.groups)] = mean_over_rows(token[..., None], offsets)[..., 0].movedim(0, -1)
            mass[:, :, run.first_row : run.stop_row][where] = seen
    return TokenMass(output, lse, mass)


def _blocks(q_BHND: Tensor) -> Iterator[slice]:
    batch, num_heads, num_tokens, size = q_BHND.shape
    fit = max(1, BLOCK_ELEMENTS // (batch * num_heads * size))
    width = math.ceil(num_tokens / math.ceil(num_tokens / fit))
    for start in range(0, num_tokens, width):
        yield slice(start, min(start + width, num_tokens))


def _merge(
    q: Tensor, k: Tensor, v: Tensor, key_offsets: Sequence[int], scale: float, run: Run, wide: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sum over groups of share x output (B, H, N, D), the shares (G, B, H, N), their sum, and their level (B, H, N).

    share_g = exp(lse_g - level), where the level of a row is the log-sum-exp of its first group. Where a later group
    lies so far above that shares grow out of bounds, everything is done again with the highest one as level.
    """
    merged, shares, total, level = _merge_at(None, q, k, v, key_offsets, scale, run, wide)
    if not float(total.amax()) < MAX_TOTAL:
        highest = torch.stack(
            [_group(q, k, v, key_offsets, scale, run, i, wide)[1] for i in range(len(run.groups))]
        )
        return _merge_at(highest.amax(0), q, k, v, key_offsets, scale, run, wide)
    return merged, shares, total, level


def _merge_at(
    level: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    key_offsets: Sequence[int],
    scale: float,
    run: Run,
    wide: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    merged, lse_g = _group(q, k, v, key_offsets, scale, run, 0, wide)
    if level is None:
        level, share = lse_g, torch.ones_like(lse_g)
    else:
        share = (lse_g - level).exp_()
        merged = merged * share[..., None]
    shares, total = [share], share.clone()
    for index in range(1, len(run.groups)):
        out_g, lse_g = _group(q, k, v, key_offsets, scale, run, index, wide)
        share = (lse_g - level).exp_()
        merged.addcmul_(out_g, share[..., None])
        total += share
        shares.append(share)
    return merged, torch.stack(shares), total, level


def _group(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    key_offsets: Sequence[int],
    scale: float,
    run: Run,
    index: int,
    wide: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Attention to one visible group alone, and its log-sum-exp."""
    span = slice(key_offsets[run.groups[index]], key_offsets[run.groups[index] + 1])
    output, lse = attend_fused(q, k[:, :, span], v[:, :, span], scale)
    return output.to(wide), lse.to(wide) + run.bias[index] if run.bias[index] else lse.to(wide)
