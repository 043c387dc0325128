"""How commands print: one JSON document, or a table for people."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

QUIET = "ATTNSCOPE_QUIET"
"""Set in the environment, nothing but results and errors is written; processes that are started inherit it."""


@contextmanager
def quiet(on: bool) -> Iterator[None]:
    """Keep progress, notes and warnings from stderr as long as this runs, where asked to: `--quiet`."""
    if not on:
        yield
        return
    before = os.environ.get(QUIET)
    os.environ[QUIET] = "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            os.environ.pop(QUIET)
            if before is not None:
                os.environ[QUIET] = before


def note(words: str) -> None:
    """Say something on stderr that is no result and no error."""
    if not os.environ.get(QUIET):
        print(f"attnscope: {words}", file=sys.stderr)


def announce(words: str) -> None:
    """Say on a terminal what takes a while from here; nothing where nobody watches."""
    if sys.stderr.isatty():
        note(f"{words} ...")


def print_json(document: Mapping[str, object]) -> None:
    """Print one JSON document on stdout; NaN and infinity become null."""
    json.dump(finite(document), sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("\n")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table on stdout; the first column to the left, the others to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=index == 0)
    for row in rows:
        # as text: a file may be called [red], which is no colour
        table.add_row(*(Text(_cell(value)) for value in row))
    Console().print(table)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return "-" if value is None else str(value)


def finite(value: object) -> Any:
    """Replace NaN and infinity, which JSON lacks, by null, and keys by text."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
