"""Tables that people write, line by line, held against the columns that are known."""

from __future__ import annotations

import csv
import difflib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from attnscope.errors import InputError, quote

MAX_BYTES = 1 << 26


@dataclass(frozen=True)
class Line:
    """A line of a table: what stands under each column, without blanks around, and where it stands."""

    cells: Mapping[str, str]
    number: int
    table: Path

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")

    def error(self, column: str, *, expected: str, got: str, remedy: str) -> InputError:
        """Say what is wrong with a cell."""
        where = f"in line {self.number} of {self.table}, column {column}"
        return InputError(expected=expected, got=got, where=where, remedy=remedy)


def read_lines(table: Path, *, needed: str, known: Sequence[str]) -> list[Line]:
    """Read a CSV table whose first line names its columns; empty lines are passed over.

    Raises
    ------
    InputError
        The file is no such table; a column is unknown or there twice; a line has more cells than there are columns.
    """
    rows = _read_rows(table)
    columns = rows[0][1] if rows else []
    if needed not in columns or len(rows) < 2:
        raise InputError(
            expected=f"a manifest with a column {needed} and a line for each video",
            got=f"the columns {quote(', '.join(columns))} and {max(len(rows) - 1, 0)} lines",
            where=f"in {table}",
            remedy="add them",
        )
    _require_columns(columns, rows[0][0], table, known)
    return [_line(columns, number, cells, table) for number, cells in rows[1:]]


def _read_rows(table: Path) -> list[tuple[int, list[str]]]:
    """The lines that hold something, with their numbers."""
    try:
        if not os.path.isfile(table):
            raise FileNotFoundError("no file")
        if os.path.getsize(table) > MAX_BYTES:
            raise csv.Error(f"more than {MAX_BYTES} bytes")
        with open(table, encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, strict=True)
            return [(lines.line_num, cells) for cells in lines if any(cell.strip() for cell in cells)]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            expected="a manifest, a CSV table",
            got=quote(" ".join(str(error).split()), 100),
            where=f"in {quote(str(table))}",
            remedy="check it",
        ) from error


def _require_columns(columns: Sequence[str], number: int, table: Path, known: Sequence[str]) -> None:
    counts = Counter(columns)
    for column in columns:
        where = f"in line {number} of {table}, column {columns.index(column) + 1}"
        if column not in known:
            near = difflib.get_close_matches(column.strip().lower(), known, 1, 0.7)
            raise InputError(
                expected=f"columns out of {', '.join(known)}",
                got=quote(column),
                where=where,
                remedy=f"write {near[0]}" if near else "leave it out, or call it note",
            )
        if counts[column] > 1:
            raise InputError(
                expected="every column once",
                got=f"{column} {counts[column]} times",
                where=where,
                remedy="leave one",
            )


def _line(columns: Sequence[str], number: int, cells: Sequence[str], table: Path) -> Line:
    if len(cells) > len(columns):
        raise InputError(
            expected=f"{len(columns)} cells, one for each column",
            got=f"{len(cells)}, the first too many {quote(cells[len(columns)])}",
            where=f"in line {number} of {table}, column {len(columns) + 1}",
            remedy="put a cell that holds a comma in quotation marks",
        )
    return Line({column: cell.strip() for column, cell in zip(columns, cells, strict=False)}, number, table)
