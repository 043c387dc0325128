"""A frame relation as lists of tiles: what a kernel walks, so that hidden pairs cost nothing.

Rows whose relation is the same are cut into tiles that never cross into other rows; for each tile stands a list of
the column tiles that it sees. Uneven frames need no padding. The lists of the transposed relation serve the
gradients of key and value. Tables are a few kilobytes and are kept for the next call.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ._relation import Run, runs


class TileTable(NamedTuple):
    """Where a kernel program finds its work: int32 tensors on the device of the attention.

    Relation number ``part[b * H + h]`` holds for head h of batch entry b; its tiles are ``bounds[part]`` to
    ``bounds[part + 1]``. A tile is (first row, stop row, first entry, stop entry); an entry is (first column,
    stop column, group, 1 if it is the last one of its group else 0), with its bias in base-2 units beside it.
    """

    part: Tensor
    bounds: Tensor
    tiles: Tensor
    entries: Tensor
    bias: Tensor
    num_programs: int

    @property
    def num_pairs(self) -> int:
        """How many pairs of row tile and column tile are computed, over all relations."""
        return int((self.tiles[:, 3] - self.tiles[:, 2]).sum())


def tile_table(
    relation: Tensor,
    row_offsets: tuple[int, ...],
    column_offsets: tuple[int, ...],
    *,
    batch: int,
    num_heads: int,
    block_rows: int,
    block_columns: int,
    separate_groups: bool,
    device: torch.device,
) -> TileTable:
    """Cut a checked relation (batch or 1, heads or 1, F, G) into tiles.

    With ``separate_groups`` no column tile holds tokens of two groups (which the mass needs); otherwise neighbouring
    groups of equal bias are walked as one.
    """
    matrices, part = _distinct(relation.expand(batch, num_heads, *relation.shape[2:]))
    return _build(
        matrices, part, row_offsets, column_offsets, block_rows, block_columns, separate_groups, device
    )


def _distinct(relation: Tensor) -> tuple[tuple[tuple[tuple[float, ...], ...], ...], tuple[int, ...]]:
    found: dict[tuple[tuple[float, ...], ...], int] = {}
    matrices = relation.flatten(0, 1)
    # one matrix that is shared by all heads is read once, however many there are
    rows = [matrices[0].tolist()] * len(matrices) if relation.stride()[:2] == (0, 0) else matrices.tolist()
    part = tuple(found.setdefault(tuple(map(tuple, matrix)), len(found)) for matrix in rows)
    return tuple(found), part


@functools.lru_cache(maxsize=256)
def _build(
    matrices: tuple[tuple[tuple[float, ...], ...], ...],
    part: tuple[int, ...],
    row_offsets: tuple[int, ...],
    column_offsets: tuple[int, ...],
    block_rows: int,
    block_columns: int,
    separate_groups: bool,
    device: torch.device,
) -> TileTable:
    bounds, bias = [0], list[float]()
    tiles, entries = list[tuple[int, int, int, int]](), list[tuple[int, int, int, int]]()
    for matrix in matrices:
        for run in runs(torch.tensor(matrix, dtype=torch.float64)):
            first = len(entries)
            for entry, value in _entries(run, column_offsets, block_columns, separate_groups):
                entries.append(entry)
                bias.append(value * math.log2(math.e))
            start, stop = row_offsets[run.first_row], row_offsets[run.stop_row]
            for row in range(start, stop, block_rows):
                tiles.append((row, min(row + block_rows, stop), first, len(entries)))
        bounds.append(len(tiles))
    whole = functools.partial(torch.tensor, dtype=torch.int32, device=device)
    return TileTable(
        part=whole(part),
        bounds=whole(bounds),
        tiles=whole(tiles),
        entries=whole(entries).view(-1, 4),
        bias=torch.tensor(bias, dtype=torch.float32, device=device),
        num_programs=max(stop - start for start, stop in itertools.pairwise(bounds)),
    )


def _entries(
    run: Run, offsets: Sequence[int], block: int, separate_groups: bool
) -> Iterator[tuple[tuple[int, int, int, int], float]]:
    for start, stop, group, bias in _spans(run, offsets, separate_groups):
        for column in range(start, stop, block):
            end = min(column + block, stop)
            yield (column, end, group, int(end == stop)), bias


def _spans(run: Run, offsets: Sequence[int], separate_groups: bool) -> Iterator[tuple[int, int, int, float]]:
    spans: list[tuple[int, int, int, float]] = []
    for group, bias in zip(run.groups, run.bias, strict=True):
        start, stop = offsets[group], offsets[group + 1]
        if spans and not separate_groups and spans[-1][1] == start and spans[-1][3] == bias:
            spans[-1] = (spans[-1][0], stop, group, bias)
        else:
            spans.append((start, stop, group, bias))
    yield from spans
