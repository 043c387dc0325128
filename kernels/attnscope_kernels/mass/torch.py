"""The frame mass in plain PyTorch, without a token x token map.

Two exact ways. *chunked*: softmax of a few query rows at a time; the rows are chosen so that a block of scores
never holds more than a fixed number of elements. *split*: one fused attention call per key group; the outputs
are merged through their log-sum-exps, and the softmax over those log-sum-exps **is** the mass.

Legend: B batch, N query tokens, M key tokens, K heads of one block, R rows of one block, D head size, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .._relation import Run, parts, runs, token_bias, visible
from .reference import mean_over_rows, sum_over_groups

# Elements of one block of scores: small enough to stay near the cache on a CPU, large enough to fill a GPU.
BLOCK_ELEMENTS = {"cpu": 1 << 21}
BLOCK_ELEMENTS_ELSEWHERE = 1 << 25


class TokenMass(NamedTuple):
    """For every query token: what it gives to each key group, and the logarithm it was normalised by."""

    output: Tensor | None
    lse: Tensor
    mass: Tensor


def chunked(
    query: Tensor,
    key: Tensor,
    value: Tensor | None,
    *,
    query_offsets: Sequence[int],
    key_offsets: Sequence[int],
    scale: float,
    relation: Tensor,
    per_token: bool = False,
) -> TokenMass:
    """Compute mass (B, H, F, G) (per token: (B, H, N, G)), lse (B, H, N) and output (B, N, H, D)."""
    batch, num_tokens, num_heads, _ = query.shape
    wide = torch.float64 if query.dtype == torch.float64 else torch.float32
    num_rows = num_tokens if per_token else len(query_offsets) - 1
    mass = query.new_zeros(batch, num_heads, num_rows, len(key_offsets) - 1, dtype=wide)
    lse = query.new_zeros(batch, num_heads, num_tokens, dtype=wide)
    output = None if value is None else torch.zeros_like(query)
    for entries, heads, matrix in parts(relation, batch, num_heads):
        cut = runs(matrix)
        for entry in range(entries.start, entries.stop):
            for block in _head_blocks(query, key, heads):
                v = None if value is None else _heads(value[entry], block)
                q, k = _heads(query[entry], block), _heads(key[entry], block)
                token = _rows(q, k, v, query_offsets, key_offsets, scale, cut)
                where = _span(block)
                mass[entry][where] = token.mass if per_token else mean_over_rows(token.mass, query_offsets)
                lse[entry][where] = token.lse
                if output is not None and token.output is not None:
                    output[entry][:, where] = token.output.transpose(0, 1).to(output.dtype)
    return TokenMass(output, lse, mass)


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
    """Compute the same as `chunked`, with its output, from one fused call per key group (CPU, no gradient)."""
    batch, num_tokens, num_heads, _ = query.shape
    wide = torch.float64 if query.dtype == torch.float64 else torch.float32
    mass = query.new_zeros(batch, num_heads, len(query_offsets) - 1, len(key_offsets) - 1, dtype=wide)
    lse = query.new_zeros(batch, num_heads, num_tokens, dtype=wide)
    output = torch.empty_like(query)
    for entries, heads, matrix in parts(relation, batch, num_heads):
        whole = heads == list(range(num_heads))
        for run in runs(matrix):
            span = slice(query_offsets[run.first_row], query_offsets[run.stop_row])
            tensors = [query[entries, span], key[entries], value[entries]]
            q, k, v = ((t if whole else t[:, :, heads]).transpose(1, 2) for t in tensors)
            merged, group_lse = _merge(q, k, v, key_offsets, scale, run, wide)
            total = group_lse.logsumexp(-1)
            token = (group_lse - total[..., None]).exp_()
            offsets = [o - span.start for o in query_offsets[run.first_row : run.stop_row + 1]]
            rows = mean_over_rows(token, offsets)
            for index, head in enumerate(heads):
                mass[entries, head, run.first_row : run.stop_row][..., list(run.groups)] = rows[:, index]
                lse[entries, head, span] = total[:, index]
                output[entries, span, head] = merged[:, index].to(output.dtype)
    return TokenMass(output, lse, mass)


def _merge(
    q: Tensor, k: Tensor, v: Tensor, key_offsets: Sequence[int], scale: float, run: Run, wide: torch.dtype
) -> tuple[Tensor, Tensor]:
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    merged, running = q.new_zeros(q.shape, dtype=wide), q.new_full(q.shape[:-1], -torch.inf, dtype=wide)
    group_lse = []
    for group, bias in zip(run.groups, run.bias, strict=True):
        span = slice(key_offsets[group], key_offsets[group + 1])
        out_g, lse_g = fused(q, k[:, :, span], v[:, :, span], scale=scale)
        lse_g = lse_g.to(wide) + bias
        longer = torch.logaddexp(running, lse_g)
        merged.mul_((running - longer).exp_()[..., None])
        merged.addcmul_(out_g.to(wide), (lse_g - longer).exp_()[..., None])
        running = longer
        group_lse.append(lse_g)
    return merged, torch.stack(group_lse, dim=-1)


def _rows(
    q_KND: Tensor,
    k_KMD: Tensor,
    v_KMD: Tensor | None,
    query_offsets: Sequence[int],
    key_offsets: Sequence[int],
    scale: float,
    cut: list[Run],
) -> TokenMass:
    wide = torch.float64 if q_KND.dtype == torch.float64 else torch.float32
    needs_gradient = torch.is_grad_enabled() and any(
        t is not None and t.requires_grad for t in (q_KND, k_KMD, v_KMD)
    )
    pieces: list[tuple[Tensor | None, Tensor, Tensor]] = []
    for run in cut:
        k = visible(k_KMD, 1, key_offsets, run.groups).to(wide)
        v = None if v_KMD is None else visible(v_KMD, 1, key_offsets, run.groups).to(wide)
        bias = None if not any(run.bias) else token_bias(run, key_offsets, k)
        step = max(1, _block_elements(k.device) // (k.shape[0] * k.shape[1]))
        for start in range(query_offsets[run.first_row], query_offsets[run.stop_row], step):
            stop = min(start + step, query_offsets[run.stop_row])
            arguments = (q_KND[:, start:stop].to(wide), k, v, bias, key_offsets, run.groups, scale)
            # With gradients a block is computed again in the backward pass, so that no block is kept.
            pieces.append(
                checkpoint(_block, *arguments, use_reentrant=False) if needs_gradient else _block(*arguments)
            )
    outputs = [piece[0] for piece in pieces if piece[0] is not None]
    return TokenMass(
        torch.cat(outputs, 1) if outputs else None,
        torch.cat([piece[1] for piece in pieces], 1),
        torch.cat([piece[2] for piece in pieces], 1),
    )


def _block(
    q_KRD: Tensor,
    k_KMD: Tensor,
    v_KMD: Tensor | None,
    bias_M: Tensor | None,
    key_offsets: Sequence[int],
    groups: tuple[int, ...],
    scale: float,
) -> tuple[Tensor | None, Tensor, Tensor]:
    scores_KRM = torch.bmm(q_KRD * scale, k_KMD.transpose(1, 2))
    if bias_M is not None:
        scores_KRM += bias_M
    weight_KRM = scores_KRM.softmax(-1)
    # log-sum-exp = score - log(weight) at any key; at the largest the weight is at least 1 / M, so this is safe
    lse_KR = scores_KRM.amax(-1) - weight_KRM.amax(-1).log()
    local = [0]
    for group in groups:
        local.append(local[-1] + key_offsets[group + 1] - key_offsets[group])
    mass_KRG = sum_over_groups(weight_KRM, local)
    if len(groups) < len(key_offsets) - 1:
        index = torch.tensor(groups, device=mass_KRG.device)
        whole = mass_KRG.new_zeros(*mass_KRG.shape[:-1], len(key_offsets) - 1)
        mass_KRG = whole.index_copy(-1, index, mass_KRG)
    output_KRD = None if v_KMD is None else torch.bmm(weight_KRM, v_KMD)
    return output_KRD, lse_KR, mass_KRG


def _head_blocks(query: Tensor, key: Tensor, heads: list[int]) -> list[list[int]]:
    size = max(1, _block_elements(query.device) // (query.shape[1] * key.shape[1]))
    return [heads[start : start + size] for start in range(0, len(heads), size)]


def _heads(tensor_NHD: Tensor, heads: list[int]) -> Tensor:
    return tensor_NHD[:, _span(heads)].transpose(0, 1)


def _span(heads: list[int]) -> slice | list[int]:
    """Neighbouring heads as a slice, which copies nothing."""
    adjoining = heads == list(range(heads[0], heads[-1] + 1))
    return slice(heads[0], heads[-1] + 1) if adjoining else heads


def _block_elements(device: torch.device) -> int:
    return BLOCK_ELEMENTS.get(device.type, BLOCK_ELEMENTS_ELSEWHERE)
