"""Hands tensors and tile tables to the kernels, and joins forward and backward for autograd."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .._groups import dense_heads
from .._relation import Offsets
from .._settings import Kernel, is_interpreted, padded_head_size, setting
from .._tiles import TileTable, tile_table


class Attended(NamedTuple):
    """Output (B, N, H, D) or None, log-sum-exp (B, H, N), base-2 group log-sum-exp (B, H, N, G) or None."""

    output: Tensor | None
    lse: Tensor
    group_lse: Tensor | None


def constants(kernel: Kernel, query: Tensor) -> dict[str, Any]:
    """The compile-time constants and launch options of a kernel for tensors like this."""
    chosen = setting(kernel, query.shape[-1], query.dtype)
    return {
        "SIZE": query.shape[-1],
        "PADDED": padded_head_size(query.shape[-1]),
        "ROWS": chosen.rows,
        "COLUMNS": chosen.columns,
        "num_warps": chosen.num_warps,
        "num_stages": chosen.num_stages,
    }


def table_for(
    kernel: Kernel,
    query: Tensor,
    relation: Tensor,
    row_offsets: Offsets,
    column_offsets: Offsets,
    *,
    separate_groups: bool = False,
) -> TileTable:
    """The tile table that a kernel walks for tensors like this."""
    chosen = setting(kernel, query.shape[-1], query.dtype)
    return tile_table(
        relation,
        row_offsets,
        column_offsets,
        batch=query.shape[0],
        num_heads=query.shape[2],
        block_rows=chosen.rows,
        block_columns=chosen.columns,
        separate_groups=separate_groups,
        device=query.device,
    )


def grid(table: TileTable, query: Tensor) -> tuple[int, int]:
    """One program for each tile of the longest relation, and for each head of each batch entry."""
    return table.num_programs, query.shape[0] * query.shape[2]


def strides(*tensors: Tensor) -> tuple[int, ...]:
    """Strides of batch entry, token and head of each tensor, in the order in which kernels take them."""
    return tuple(stride for tensor in tensors for stride in tensor.stride()[:3])


def run_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor | None,
    *,
    query_offsets: Offsets,
    key_offsets: Offsets,
    scale: float,
    relation: Tensor,
    with_groups: bool = False,
) -> Attended:
    """Run the forward kernel; ``with_groups`` asks for the log-sum-exp of every group, too."""
    from . import kernel

    query, key = dense_heads(query), dense_heads(key)
    value = None if value is None else dense_heads(value)
    batch, num_tokens, num_heads, _ = query.shape
    num_groups = len(key_offsets) - 1
    output = query if value is None else _room_for(query)
    lse = query.new_empty(batch, num_heads, num_tokens, dtype=torch.float32)
    group_lse = lse
    if with_groups:
        # a group that nobody sees is never written
        group_lse = query.new_full((*lse.shape, num_groups), -math.inf, dtype=torch.float32)
    table = table_for("forward", query, relation, query_offsets, key_offsets, separate_groups=with_groups)
    given = key if value is None else value
    tensors = (query, key, given, output, lse, group_lse)
    sizes = (num_heads, num_tokens, num_groups, scale * math.log2(math.e))
    wanted = {"WITH_VALUE": value is not None, "WITH_MASS": with_groups, **constants("forward", query)}
    kernel.forward[grid(table, query)](*tensors, *table[:5], *strides(*tensors[:4]), *sizes, **wanted)
    return Attended(
        None if value is None else output.to(query.dtype), lse, group_lse if with_groups else None
    )


class _ShotAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        query_offsets: Offsets,
        key_offsets: Offsets,
        scale: float,
        relation: Tensor,
    ) -> tuple[Tensor, Tensor]:
        query, key, value = (dense_heads(tensor) for tensor in (query, key, value))
        output, lse, _ = run_forward(
            query,
            key,
            value,
            query_offsets=query_offsets,
            key_offsets=key_offsets,
            scale=scale,
            relation=relation,
        )
        assert output is not None
        ctx.save_for_backward(query, key, value, output, lse)
        ctx.rest = query_offsets, key_offsets, scale, relation
        ctx.mark_non_differentiable(lse)
        return output, lse

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        from . import kernel

        query, key, value, output, lse = ctx.saved_tensors
        query_offsets, key_offsets, scale, relation = ctx.rest
        gradient = dense_heads(gradient)
        delta = (gradient.float() * output.float()).sum(-1).transpose(1, 2).contiguous()
        dq, dk, dv = _room_for(query), _room_for(key), _room_for(value)
        given = (query, key, value, gradient, lse, delta)
        sizes = (query.shape[2], query.shape[1], scale)

        table = table_for("backward_query", query, relation, query_offsets, key_offsets)
        walked = (*table[:5], *strides(query, key, value, gradient, dq))
        chosen = constants("backward_query", query)
        kernel.backward_query[grid(table, query)](*given, dq, *walked, *sizes, **chosen)
        table = table_for("backward_key", query, relation.transpose(-1, -2), key_offsets, query_offsets)
        walked = (*table[:5], *strides(query, key, value, gradient, dk))
        chosen = constants("backward_key", query)
        kernel.backward_key[grid(table, query)](*given, dk, dv, *walked, *sizes, **chosen)
        return dq.to(query.dtype), dk.to(key.dtype), dv.to(value.dtype), None, None, None, None


def attend_by_kernel(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    query_offsets: Offsets,
    key_offsets: Offsets,
    scale: float,
    relation: Tensor,
) -> tuple[Tensor, Tensor]:
    """Output (B, N, H, D), differentiable, and log-sum-exp (B, H, N), which is not."""
    output, lse = _ShotAttention.apply(  # type: ignore[no-untyped-call]
        query, key, value, query_offsets, key_offsets, scale, relation
    )
    return output, lse


def _room_for(tensor: Tensor) -> Tensor:
    """Uninitialised, contiguous, of this shape; in float32 for the interpreter, which cannot round."""
    dtype = torch.float32 if is_interpreted() else tensor.dtype
    return torch.empty(tensor.shape, dtype=dtype, device=tensor.device)
