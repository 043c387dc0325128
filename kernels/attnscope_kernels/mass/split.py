"""The frame mass from one fused attention call per key group, merged through their log-sum-exps.

    O = sum_g w_g O_g    w_g = exp(lse_g - lse)    lse = log sum_g exp lse_g    mass[f, g] = mean over i in f of w_ig

The softmax over the log-sum-exps of the groups *is* the mass. Exact; rides on the fastest attention there is.

Legend: B batch, H heads, N query tokens, D head size, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .._chunked import TokenMass, index_of
from .._fused import fused_with_lse
from .._groups import mean_over_rows
from .._relation import Run, parts, runs

# exp of this is far from the largest float32, whatever number of groups is added up.
MAX_ABOVE = 60.0


def split(
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
            merged, share, total, level = _merge(q, k, v, key_offsets, scale, run, wide)
            rest = total.reciprocal()
            output.transpose(1, 2)[:, :, start:stop][where] = (merged * rest[..., None]).to(output.dtype)
            lse[:, :, start:stop][where] = level + total.log_()
            offsets = [offset - start for offset in query_offsets[run.first_row : run.stop_row + 1]]
            rows = mean_over_rows((share * rest).movedim(0, -1), offsets)
            seen = mass[:, :, run.first_row : run.stop_row][where]
            seen[..., list(run.groups)] = rows
            mass[:, :, run.first_row : run.stop_row][where] = seen
    return TokenMass(output, lse, mass)


def _merge(
    q: Tensor, k: Tensor, v: Tensor, key_offsets: Sequence[int], scale: float, run: Run, wide: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sum over groups of share x output (B, H, N, D), the shares (G, B, H, N), their sum, and their level (B, H, N).

    share_g = exp(lse_g - level). The level is one log-sum-exp a row, which moves only when a later group is far above
    it: to rescale what is summed up at every group would touch it twice as often.
    """
    merged, total, level = (q.new_zeros(()) for _ in range(3))
    shares: list[Tensor] = []
    for group, bias in zip(run.groups, run.bias, strict=True):
        span = slice(key_offsets[group], key_offsets[group + 1])
        out_g, lse_g = fused_with_lse(q, k[:, :, span], v[:, :, span], scale)
        lse_g = lse_g.to(wide) + bias if bias else lse_g.to(wide)
        if not shares:
            merged, total, level = out_g.to(wide), torch.ones_like(lse_g), lse_g
            shares.append(torch.ones_like(lse_g))
            continue
        above = lse_g - level
        if float(above.amax()) > MAX_ABOVE:
            higher = torch.maximum(level, lse_g)
            fade = (level - higher).exp_()
            merged = merged * fade[..., None]
            total, shares = total * fade, [share * fade for share in shares]
            above, level = lse_g - higher, higher
        share = above.exp_()
        merged.addcmul_(out_g.to(wide), share[..., None])
        total += share
        shares.append(share)
    return merged, torch.stack(shares), total, level
