"""The frame mass as Triton kernels: a second pass where the log-sum-exp is known, and the mean over query tokens.

    second pass  group_lse[i, g] = lse_i + log sum_{j in g} exp(S_ij - lse_i)      S = scale Q K^T + bias
    mean         mass[f, g] = mean over i in f of exp(group_lse[i, g] - lse_i)

The fused way needs only the mean: the forward kernel of attention writes group_lse while it attends. The second
pass is for an output that another kernel made (cuDNN, FlashAttention): it multiplies Q by K once more, and no values.

Legend: as in `attend/kernel.py`; the mean runs one program for each frame, head and block of groups, over tokens in
steps of ROWS; BLOCK groups at a time.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
# Triton reads these signatures: an annotation there is an instruction, not a type.

from __future__ import annotations

import triton
import triton.language as tl

from ..attend.kernel import LOG2_E, PRECISION, TINY, find_tile, head_base, load_entry, load_rows, rows_from


@triton.jit
def second_pass(
    query,
    key,
    lse,
    group_lse,
    t_part,
    t_bounds,
    t_tiles,
    t_entries,
    t_bias,
    q_b,
    q_n,
    q_h,
    k_b,
    k_n,
    k_h,
    num_heads,
    num_rows,
    num_groups,
    scale,
    SIZE: tl.constexpr,
    PADDED: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """The log-sum-exp of every group for one tile of query rows, from their known log-sum-exp."""
    is_one, row_start, row_stop, entry_start, entry_stop = find_tile(t_part, t_bounds, t_tiles)
    if is_one:
        rows, is_row = rows_from(row_start, row_stop, ROWS)
        q = load_rows(head_base(query, q_b, q_h, num_heads), rows, is_row, q_n, SIZE, PADDED)  # (R, P)
        k_base = head_base(key, k_b, k_h, num_heads)
        row_index = tl.program_id(1).to(tl.int64) * num_rows + rows  # (R,)
        row_lse = tl.load(lse + row_index, mask=is_row, other=0.0) * LOG2_E
        group_sum = tl.zeros([ROWS], tl.float32)  # (R,)
        for entry in range(entry_start, entry_stop):
            columns, is_column, bias = load_entry(t_entries, t_bias, entry, COLUMNS)
            k = load_rows(k_base, columns, is_column, k_n, SIZE, PADDED)  # (C, P)
            s = tl.dot(q, tl.trans(k), input_precision=PRECISION)  # (R, C)
            s = tl.where(is_column[None, :], s, float("-inf"))
            group_sum += tl.sum(tl.exp2(s * scale + (bias - row_lse)[:, None]), 1)
            if tl.load(t_entries + 4 * entry + 3) == 1:
                group = tl.load(t_entries + 4 * entry + 2)
                there = group_lse + row_index * num_groups + group
                tl.store(there, row_lse + tl.log2(tl.maximum(group_sum, TINY)), mask=is_row)
                group_sum = tl.zeros([ROWS], tl.float32)


@triton.jit
def mean_over_tokens(
    group_lse, lse, mass, offsets, num_rows, num_groups, ROWS: tl.constexpr, BLOCK: tl.constexpr
):
    """The mass of one query frame: the mean of its tokens' shares, for a block of groups."""
    frame, line = tl.program_id(0), tl.program_id(1).to(tl.int64)
    start, stop = tl.load(offsets + frame), tl.load(offsets + frame + 1)
    groups = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    is_group = groups < num_groups
    acc = tl.zeros([BLOCK], tl.float32)
    for row in range(start, stop, ROWS):
        rows = row + tl.arange(0, ROWS)
        is_row = rows < stop
        token = line * num_rows + rows
        total = tl.load(lse + token, mask=is_row, other=0.0) * LOG2_E
        there = group_lse + token[:, None] * num_groups + groups[None, :]
        share = tl.load(there, mask=is_row[:, None] & is_group[None, :], other=float("-inf"))
        acc += tl.sum(tl.exp2(share - total[:, None]), 0)
    there = mass + (line * tl.num_programs(0) + frame) * num_groups + groups
    tl.store(there, acc / (stop - start), mask=is_group)
