"""Runs of query frames on a CPU, with gradients, whose outputs lie in one tensor from the beginning.

PyTorch keeps the output of each attention call for its gradient. Laid side by side afterwards they would be kept twice,
and the gradient of each slice would come as a tensor of full size.

Legend: B batch, H heads, N query tokens, M key tokens, D head size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .._fused import attend_fused
from .._groups import select_groups, spans_of, token_bias
from .._relation import Run


def attend_joined(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    runs: Sequence[Run],
    query_offsets: Sequence[int],
    key_offsets: Sequence[int],
    scale: float,
) -> Tensor:
    """Return the output (B, N, H, D) of all runs together; query, key, value (B, N or M, H, D)."""
    output: Tensor = _Joined.apply(query, key, value, runs, query_offsets, key_offsets, scale)  # type: ignore[no-untyped-call]
    return output


def can_join(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether outputs can lie in one tensor: a gradient is wanted, of what the CPU's fused attention takes as it is."""
    given = query, key, value
    wanted = torch.is_grad_enabled() and any(each.requires_grad for each in given)
    alike = len({each.shape[-1] for each in given}) == 1 and all(each.stride(-1) == 1 for each in given)
    return wanted and alike and query.device.type == "cpu"


def bias_of_run(run: Run, key_offsets: Sequence[int], like: Tensor) -> Tensor | None:
    """Return what is added to the scores of a run (1, 1, 1, M'), less the largest; None where nothing is."""
    if run.is_flat:
        return None
    # relative to the largest, before 16 bits round them: what is added to all changes nothing
    relative = [bias - max(run.bias) for bias in run.bias]
    return token_bias(relative, run.groups, key_offsets, like)[None, None, None]


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        runs: Sequence[Run],
        query_offsets: Sequence[int],
        key_offsets: Sequence[int],
        scale: float,
    ) -> Tensor:
        output = torch.empty_like(query, memory_format=torch.contiguous_format)
        sums = []
        for run, rows in _rows(runs, query_offsets):
            q, k, v, mask = _slice(query, key, value, run, rows, key_offsets)
            of_run, lse = attend_fused(q, k, v, scale, mask)
            output[:, rows] = of_run.transpose(1, 2)
            sums.append(lse)
        ctx.save_for_backward(query, key, value, output, *sums)
        ctx.given = runs, query_offsets, key_offsets, scale
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, output, *sums = ctx.saved_tensors
        runs, query_offsets, key_offsets, scale = ctx.given
        of_query, of_key, of_value = (torch.zeros_like(each) for each in (query, key, value))
        for (run, rows), lse in zip(_rows(runs, query_offsets), sums, strict=True):
            q, k, v, mask = _slice(query, key, value, run, rows, key_offsets)
            back = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
            of_q, *of_keys = back(
                grad[:, rows].transpose(1, 2),
                q,
                k,
                v,
                output[:, rows].transpose(1, 2),
                lse,
                0.0,
                False,
                attn_mask=mask,
                scale=scale,
            )
            of_query[:, rows] = of_q.transpose(1, 2)
            for whole, part in zip((of_key, of_value), of_keys, strict=True):
                start = 0
                for first, stop in spans_of(key_offsets, run.groups):
                    whole[:, first:stop] += part.transpose(1, 2)[:, start : start + stop - first]
                    start += stop - first
        return of_query, of_key, of_value, None, None, None, None


def _rows(runs: Sequence[Run], query_offsets: Sequence[int]) -> Iterator[tuple[Run, slice]]:
    for run in runs:
        yield run, slice(query_offsets[run.first_row], query_offsets[run.stop_row])


def _slice(
    query: Tensor, key: Tensor, value: Tensor, run: Run, rows: slice, key_offsets: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """The queries of a run, what they see (B, H, N' or M', D), and what is added to their scores."""
    q = query[:, rows].transpose(1, 2)
    k, v = (select_groups(each, 1, key_offsets, run.groups).transpose(1, 2) for each in (key, value))
    return q, k, v, bias_of_run(run, key_offsets, q)
