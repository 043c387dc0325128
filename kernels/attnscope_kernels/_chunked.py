"""Attention and what it gives to each group in plain PyTorch, a block of rows at a time.

Softmax of a few query rows at a time; the rows are chosen so that a block of scores never holds more than a fixed
number of elements. Short sequences (the frames of a UNet's temporal attention) are computed thousands at a time.

Legend: B batch, N query tokens, M key tokens, K lines of one block (entries x heads), R rows of one block, D head
size, F query groups, G key groups.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ._groups import mean_over_rows, select_groups, sum_over_groups, token_bias
from ._relation import Run, parts, runs, single_rows

# Elements of one block of scores: small enough to stay near the cache on a CPU, large enough to fill a GPU.
BLOCK_ELEMENTS = {"cpu": 1 << 21}
BLOCK_ELEMENTS_ELSEWHERE = 1 << 25


class TokenMass(NamedTuple):
    """For every query token: what it gives to each key group, and the logarithm it was normalised by."""

    output: Tensor | None
    lse: Tensor
    mass: Tensor


def attend_in_chunks(
    query: Tensor,
    key: Tensor,
    value: Tensor | None,
    *,
    query_offsets: Sequence[int],
    key_offsets: Sequence[int],
    scale: float,
    relation: Tensor,
    content: Tensor | None = None,
    per_token: bool = False,
    num_places: int = 1,
) -> TokenMass:
    """Compute mass (B / num_places, H, F, G) (per token: F is N), lse (B, H, N) and output (B, N, H, D)."""
    batch, num_tokens, num_heads, _ = query.shape
    wide = torch.float64 if query.dtype == torch.float64 else torch.float32
    num_rows = num_tokens if per_token else len(query_offsets) - 1
    mass = query.new_zeros(batch // num_places, num_heads, num_rows, len(key_offsets) - 1, dtype=wide)
    lse = query.new_zeros(batch, num_heads, num_tokens, dtype=wide)
    output = None if value is None else torch.zeros_like(query)
    for entries, heads, matrix in parts(relation, batch, num_heads):
        cut = runs(matrix) if content is None else single_rows(matrix)
        numbers = list(range(batch)) if isinstance(entries, slice) else entries
        for some, block in itertools.product(
            _entry_blocks(query, key, numbers), _head_blocks(query, key, heads)
        ):
            q, k = _flat(query, some, block), _flat(key, some, block)
            v = None if value is None else _flat(value, some, block)
            token = _rows(q, k, v, query_offsets, key_offsets, scale, cut, content)
            shaped = (len(some), len(block))
            found = token.mass if per_token else mean_over_rows(token.mass, query_offsets)
            found = torch.unflatten(found, 0, shaped)
            where = index_of(some, block)
            if num_places == 1:
                mass[where] = found
            else:
                videos = torch.tensor(some).div(num_places, rounding_mode="floor")
                mass.index_put_(
                    (videos[:, None], torch.tensor(block)[None]), found / num_places, accumulate=True
                )
            lse[where] = torch.unflatten(token.lse, 0, shaped)
            if output is not None and token.output is not None:
                output.transpose(1, 2)[where] = torch.unflatten(token.output, 0, shaped).to(output.dtype)
    return TokenMass(output, lse, mass)


def _rows(
    q_KND: Tensor,
    k_KMD: Tensor,
    v_KMD: Tensor | None,
    query_offsets: Sequence[int],
    key_offsets: Sequence[int],
    scale: float,
    cut: list[Run],
    content_FG: Tensor | None,
) -> TokenMass:
    wide = torch.float64 if q_KND.dtype == torch.float64 else torch.float32
    needs_gradient = torch.is_grad_enabled() and any(
        t is not None and t.requires_grad for t in (q_KND, k_KMD, v_KMD)
    )
    pieces: list[tuple[Tensor | None, Tensor, Tensor]] = []
    for run in cut:
        k = select_groups(k_KMD, 1, key_offsets, run.groups).to(wide)
        v = None if v_KMD is None else select_groups(v_KMD, 1, key_offsets, run.groups).to(wide)
        bias = None if not any(run.bias) else token_bias(run.bias, run.groups, key_offsets, k)
        content = None
        if content_FG is not None:
            row = content_FG[run.first_row, list(run.groups)].tolist()
            content = token_bias(row, run.groups, key_offsets, k)
        step = max(1, _block_elements(k.device) // (k.shape[0] * k.shape[1]))
        for start in range(query_offsets[run.first_row], query_offsets[run.stop_row], step):
            stop = min(start + step, query_offsets[run.stop_row])
            q = q_KND[:, start:stop].to(wide)
            arguments = (q, k, v, bias, content, key_offsets, run.groups, scale)
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
    content_M: Tensor | None,
    key_offsets: Sequence[int],
    groups: tuple[int, ...],
    scale: float,
) -> tuple[Tensor | None, Tensor, Tensor]:
    scores_KRM = torch.bmm(q_KRD * scale, k_KMD.transpose(1, 2))
    if content_M is not None:
        scores_KRM = scores_KRM + content_M * scores_KRM.amax(-1, keepdim=True)
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


def _entry_blocks(query: Tensor, key: Tensor, entries: list[int]) -> list[list[int]]:
    # Where one entry fills a block, one at a time; short sequences (a UNet's frames) thousands at a time.
    size = max(1, _block_elements(query.device) // (query.shape[2] * query.shape[1] * key.shape[1]))
    return [entries[start : start + size] for start in range(0, len(entries), size)]


def _flat(tensor_BNHD: Tensor, entries: list[int], heads: list[int]) -> Tensor:
    """Chosen heads of chosen entries as one batch (K, N, D)."""
    return tensor_BNHD.transpose(1, 2)[index_of(entries, heads)].flatten(0, 1)


def index_of(entries: list[int], heads: list[int]) -> tuple[slice | list[int] | Tensor, ...]:
    """The index of these entries and heads in a (B, H, ...) tensor; as slices where they adjoin: nothing is copied."""
    some, block = _span(entries), _span(heads)
    if isinstance(some, slice) or isinstance(block, slice):
        return some, block
    return torch.tensor(some)[:, None], torch.tensor(block)[None]


def _span(numbers: list[int]) -> slice | list[int]:
    adjoining = numbers == list(range(numbers[0], numbers[-1] + 1))
    return slice(numbers[0], numbers[-1] + 1) if adjoining else numbers


def _block_elements(device: torch.device) -> int:
    return BLOCK_ELEMENTS.get(device.type, BLOCK_ELEMENTS_ELSEWHERE)
