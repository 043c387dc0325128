"""Scores that are kept from one run to the next: a sealed file each, named after the request that it answers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec

from attnscope.metrics.scoring.score import Row
from attnscope.storage.disk import explain
from attnscope.storage.sealed import SealError, read_sealed, write_sealed

KIND = "attnscope score of a video 2"


class KeptRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row, and the request that it answers; ``nan`` are the ways to what is nan in it, which JSON cannot hold."""

    request: str
    row: Row
    nan: list[list[str | int]]


def load_row(folder: Path, request: str) -> Row | None:
    """Take up the row of a request; one that is damaged, or lies in the place of another, is not there."""
    try:
        kept = read_sealed(_row_path(folder, request), KIND, KeptRow)
    except SealError:
        return None
    if kept is None or kept.request != request or kept.row.get("status") != "ok":
        return None
    for *way, last in kept.nan:
        holder: Any = kept.row
        for step in way:
            holder = holder[step]
        holder[last] = math.nan
    return kept.row


def save_row(folder: Path, request: str, row: Row) -> None:
    """Keep a row, whole or not at all."""
    path = _row_path(folder, request)
    with explain(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    nan: list[list[str | int]] = []
    plain = _without_nan(row, [], nan)
    write_sealed(path, KIND, KeptRow(request, plain, nan))


def _row_path(folder: Path, request: str) -> Path:
    return folder / "rows" / f"{request}.json"


def _without_nan(value: object, way: list[str | int], found: list[list[str | int]]) -> Any:
    """The same value with null for nan; notes the way to each."""
    if isinstance(value, float) and math.isnan(value):
        found.append(way)
        return None
    if isinstance(value, dict):
        return {name: _without_nan(part, [*way, name], found) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part, [*way, index], found) for index, part in enumerate(value)]
    return value
