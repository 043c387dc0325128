"""Attention under a frame relation as three Triton kernels that walk lists of visible tiles: forward, dQ, dK and dV.

    S = scale Q K^T + bias[frame(i), group(j)]     P = exp(S - lse)     O = P V     lse_i = log sum_j exp S_ij
    forward  one pass over the visible key tiles with a running maximum m and a running sum l (online softmax)
    backward D_i = sum_d dO_id O_id    dS = P (dO V^T - D)    dQ = scale dS K    dK = scale dS^T Q    dV = P^T dO

While it walks the keys in group order, the forward may keep a second running sum l_g, rescaled as l is; at the last
tile of a group it writes group_lse[i, g] = m + log l_g. The softmax of those over g is the mass of token i.

Sums are taken in base 2: s and lse are multiplied by log2 e where they enter. Each dQ, dK and dV is written by one
program, so the same input gives the same bits.

Legend: Q, K, V, O (B, N or M, H, D); lse, D (B, H, N); group_lse (B, H, N, G). In kernels: `q_` query side, `k_` key
side, `t_` tables (see `_tiles`); *_b, *_n, *_h strides of batch entry, token, head; a tile has ROWS rows (R in the
shapes) and COLUMNS columns (C), heads are padded from SIZE to PADDED (P). `rows` and `columns` are numbers of tokens,
`row_index` the place of a token of this entry and head in lse.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
# Triton reads these signatures: an annotation there is an instruction, not a type.

from __future__ import annotations

import triton
import triton.language as tl

from .._settings import is_interpreted

LOG2_E = tl.constexpr(1.4426950408889634)
# float32's smallest normal number: a share below it has no logarithm
TINY = tl.constexpr(1.1754943508222875e-38)
# full precision means it: the default of tensor cores keeps 10 bits of float32
PRECISION = tl.constexpr("ieee")
# for the interpreter, whose 16-bit products are wrong and whose 16-bit casts do not round
UPCAST = tl.constexpr(is_interpreted())


@triton.jit
def load_rows(base, tokens, is_there, stride, SIZE: tl.constexpr, PADDED: tl.constexpr):
    """Rows (R, P) of a (tokens, SIZE) matrix; what lies outside reads as 0, so nothing hidden can leak in."""
    columns = tl.arange(0, PADDED)
    there = base + tokens.to(tl.int64)[:, None] * stride + columns[None, :]
    rows = tl.load(there, mask=is_there[:, None] & (columns < SIZE)[None, :], other=0.0)
    if UPCAST:
        rows = rows.to(tl.float32)
    return rows


@triton.jit
def store_rows(base, tokens, is_there, stride, values, SIZE: tl.constexpr, PADDED: tl.constexpr):
    """Write rows (R, P) of a (tokens, SIZE) matrix."""
    columns = tl.arange(0, PADDED)
    there = base + tokens.to(tl.int64)[:, None] * stride + columns[None, :]
    tl.store(there, values.to(base.dtype.element_ty), mask=is_there[:, None] & (columns < SIZE)[None, :])


@triton.jit
def find_tile(t_part, t_bounds, t_tiles):
    """The tile of this program: (is there one, first row, stop row, first entry, stop entry)."""
    part = tl.load(t_part + tl.program_id(1))
    first = tl.load(t_bounds + part)
    number = first + tl.program_id(0)
    is_one = number < tl.load(t_bounds + part + 1)
    # a program beyond the last tile of its relation reads the first one and is sent away
    tile = t_tiles + 4 * tl.where(is_one, number, first)
    return is_one, tl.load(tile), tl.load(tile + 1), tl.load(tile + 2), tl.load(tile + 3)


@triton.jit
def rows_from(start, stop, ROWS: tl.constexpr):
    """The rows of a tile (R,), and which of them are there."""
    rows = start + tl.arange(0, ROWS)
    return rows, rows < stop


@triton.jit
def load_entry(t_entries, t_bias, entry, COLUMNS: tl.constexpr):
    """One column tile that a tile sees: its columns (C,), which of them are there, its bias."""
    columns = tl.load(t_entries + 4 * entry) + tl.arange(0, COLUMNS)
    return columns, columns < tl.load(t_entries + 4 * entry + 1), tl.load(t_bias + entry)


@triton.jit
def head_base(pointer, stride_b, stride_h, num_heads):
    """Where this program's batch entry and head begin."""
    entry = tl.program_id(1) // num_heads
    head = tl.program_id(1) % num_heads
    return pointer + entry.to(tl.int64) * stride_b + head.to(tl.int64) * stride_h


@triton.jit
def walk_columns(
    q,
    is_row,
    k_base,
    k_n,
    v_base,
    v_n,
    t_entries,
    t_bias,
    entry_start,
    entry_stop,
    group_lse,
    row_index,
    num_groups,
    scale,
    WITH_VALUE: tl.constexpr,
    WITH_MASS: tl.constexpr,
    SIZE: tl.constexpr,
    PADDED: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Online softmax of one tile of rows over the columns it sees: weighed values (R, P), maximum and sum (R,)."""
    row_max = tl.full([ROWS], float("-inf"), tl.float32)  # (R,)
    row_sum = tl.zeros([ROWS], tl.float32)  # (R,)
    group_sum = tl.zeros([ROWS], tl.float32)  # (R,), of the group that is walked
    acc = tl.zeros([ROWS, PADDED], tl.float32)  # (R, P)
    for entry in range(entry_start, entry_stop):
        columns, is_column, bias = load_entry(t_entries, t_bias, entry, COLUMNS)
        k = load_rows(k_base, columns, is_column, k_n, SIZE, PADDED)  # (C, P)
        s = tl.dot(q, tl.trans(k), input_precision=PRECISION)  # (R, C)
        s = tl.where(is_column[None, :], s, float("-inf"))
        new_max = tl.maximum(row_max, tl.max(s, 1) * scale + bias)  # (R,)
        p = tl.exp2(s * scale + (bias - new_max)[:, None])  # (R, C)
        rescale = tl.exp2(row_max - new_max)  # (R,)
        sum_p = tl.sum(p, 1)  # (R,)
        row_sum = row_sum * rescale + sum_p
        row_max = new_max
        if WITH_VALUE:
            v = load_rows(v_base, columns, is_column, v_n, SIZE, PADDED)  # (C, P)
            acc = acc * rescale[:, None] + tl.dot(p.to(v.dtype), v, input_precision=PRECISION)
        if WITH_MASS:
            group_sum = group_sum * rescale + sum_p
            if tl.load(t_entries + 4 * entry + 3) == 1:
                group = tl.load(t_entries + 4 * entry + 2)
                there = group_lse + row_index * num_groups + group
                tl.store(there, row_max + tl.log2(tl.maximum(group_sum, TINY)), mask=is_row)
                group_sum = tl.zeros([ROWS], tl.float32)
    return acc, row_max, row_sum


@triton.jit
def forward(
    query,
    key,
    value,
    output,
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
    v_b,
    v_n,
    v_h,
    o_b,
    o_n,
    o_h,
    num_heads,
    num_rows,
    num_groups,
    scale,
    WITH_VALUE: tl.constexpr,
    WITH_MASS: tl.constexpr,
    SIZE: tl.constexpr,
    PADDED: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Output, log-sum-exp and, where wanted, the log-sum-exp of every group, for one tile of query rows."""
    is_one, row_start, row_stop, entry_start, entry_stop = find_tile(t_part, t_bounds, t_tiles)
    if is_one:
        rows, is_row = rows_from(row_start, row_stop, ROWS)
        q = load_rows(head_base(query, q_b, q_h, num_heads), rows, is_row, q_n, SIZE, PADDED)  # (R, P)
        k_base = head_base(key, k_b, k_h, num_heads)
        v_base = head_base(value, v_b, v_h, num_heads)
        row_index = tl.program_id(1).to(tl.int64) * num_rows + rows  # (R,)
        seen = (k_base, k_n, v_base, v_n, t_entries, t_bias, entry_start, entry_stop)
        written = (group_lse, row_index, num_groups)
        acc, row_max, row_sum = walk_columns(
            q, is_row, *seen, *written, scale, WITH_VALUE, WITH_MASS, SIZE, PADDED, ROWS, COLUMNS
        )
        tl.store(lse + row_index, (row_max + tl.log2(row_sum)) / LOG2_E, mask=is_row)
        if WITH_VALUE:
            o_base = head_base(output, o_b, o_h, num_heads)
            store_rows(o_base, rows, is_row, o_n, acc / row_sum[:, None], SIZE, PADDED)


@triton.jit
def backward_query(
    query,
    key,
    value,
    gradient,
    lse,
    delta,
    query_gradient,
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
    v_b,
    v_n,
    v_h,
    o_b,
    o_n,
    o_h,
    d_b,
    d_n,
    d_h,
    num_heads,
    num_rows,
    scale,
    SIZE: tl.constexpr,
    PADDED: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """The gradient of one tile of query rows: dQ = scale dS K over the key tiles that it sees."""
    is_one, row_start, row_stop, entry_start, entry_stop = find_tile(t_part, t_bounds, t_tiles)
    if is_one:
        rows, is_row = rows_from(row_start, row_stop, ROWS)
        q = load_rows(head_base(query, q_b, q_h, num_heads), rows, is_row, q_n, SIZE, PADDED)  # (R, P)
        do = load_rows(head_base(gradient, o_b, o_h, num_heads), rows, is_row, o_n, SIZE, PADDED)  # (R, P)
        k_base = head_base(key, k_b, k_h, num_heads)
        v_base = head_base(value, v_b, v_h, num_heads)
        row_index = tl.program_id(1).to(tl.int64) * num_rows + rows  # (R,)
        row_lse = tl.load(lse + row_index, mask=is_row, other=float("inf")) * LOG2_E
        row_delta = tl.load(delta + row_index, mask=is_row, other=0.0)
        acc = tl.zeros([ROWS, PADDED], tl.float32)  # (R, P)
        for entry in range(entry_start, entry_stop):
            columns, is_column, bias = load_entry(t_entries, t_bias, entry, COLUMNS)
            k = load_rows(k_base, columns, is_column, k_n, SIZE, PADDED)  # (C, P)
            v = load_rows(v_base, columns, is_column, v_n, SIZE, PADDED)  # (C, P)
            s = tl.dot(q, tl.trans(k), input_precision=PRECISION)  # (R, C)
            p = tl.exp2(s * (scale * LOG2_E) + (bias - row_lse)[:, None])
            p = tl.where(is_column[None, :], p, 0.0)  # (R, C)
            ds = p * (tl.dot(do, tl.trans(v), input_precision=PRECISION) - row_delta[:, None])  # (R, C)
            acc += tl.dot(ds.to(k.dtype), k, input_precision=PRECISION)
        d_base = head_base(query_gradient, d_b, d_h, num_heads)
        store_rows(d_base, rows, is_row, d_n, acc * scale, SIZE, PADDED)


@triton.jit
def backward_key(
    query,
    key,
    value,
    gradient,
    lse,
    delta,
    key_gradient,
    value_gradient,
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
    v_b,
    v_n,
    v_h,
    o_b,
    o_n,
    o_h,
    d_b,
    d_n,
    d_h,
    num_heads,
    num_rows,
    scale,
    SIZE: tl.constexpr,
    PADDED: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """The gradients of one tile of keys and values, over the query tiles that see it (tables are transposed).

    A query that is not there has an infinite log-sum-exp, and so gives nothing.
    """
    is_one, row_start, row_stop, entry_start, entry_stop = find_tile(t_part, t_bounds, t_tiles)
    if is_one:
        rows, is_row = rows_from(row_start, row_stop, ROWS)
        k = load_rows(head_base(key, k_b, k_h, num_heads), rows, is_row, k_n, SIZE, PADDED)  # (R, P)
        v = load_rows(head_base(value, v_b, v_h, num_heads), rows, is_row, v_n, SIZE, PADDED)  # (R, P)
        q_base = head_base(query, q_b, q_h, num_heads)
        o_base = head_base(gradient, o_b, o_h, num_heads)
        dk = tl.zeros([ROWS, PADDED], tl.float32)  # (R, P)
        dv = tl.zeros([ROWS, PADDED], tl.float32)  # (R, P)
        for entry in range(entry_start, entry_stop):
            columns, is_column, bias = load_entry(t_entries, t_bias, entry, COLUMNS)
            column_index = tl.program_id(1).to(tl.int64) * num_rows + columns  # (C,)
            column_lse = tl.load(lse + column_index, mask=is_column, other=float("inf")) * LOG2_E
            column_delta = tl.load(delta + column_index, mask=is_column, other=0.0)
            q = load_rows(q_base, columns, is_column, q_n, SIZE, PADDED)  # (C, P)
            do = load_rows(o_base, columns, is_column, o_n, SIZE, PADDED)  # (C, P)
            s = tl.dot(k, tl.trans(q), input_precision=PRECISION)  # (R, C)
            p = tl.exp2(s * (scale * LOG2_E) + (bias - column_lse)[None, :])  # (R, C)
            dv += tl.dot(p.to(do.dtype), do, input_precision=PRECISION)
            ds = p * (tl.dot(v, tl.trans(do), input_precision=PRECISION) - column_delta[None, :])  # (R, C)
            dk += tl.dot(ds.to(q.dtype), q, input_precision=PRECISION)
        store_rows(head_base(key_gradient, d_b, d_h, num_heads), rows, is_row, d_n, dk * scale, SIZE, PADDED)
        store_rows(head_base(value_gradient, d_b, d_h, num_heads), rows, is_row, d_n, dv, SIZE, PADDED)
