"""Settings of a build, as they are chosen on the command line."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attnscope._types import Document
from attnscope.errors import InputError, quote

if TYPE_CHECKING:
    from attnscope.dataset.settings import Settings

_TABLE = "dataset"


def read_chosen(config: Path | None, pairs: Sequence[str]) -> Settings:
    """Read settings from a TOML file and from pairs as "most_shots=6", which win.

    Raises
    ------
    InputError
        The file cannot be read, or a setting is none.
    """
    from attnscope.dataset.settings import read_settings

    table = {} if config is None else _read_table(config)
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign:
            raise InputError(
                expected="a setting and its value",
                got=quote(pair),
                where="as --set",
                remedy="write for instance most_shots=6",
            )
        table[name.strip()] = value.strip()
    return read_settings(table, "as settings of the build")


def _read_table(config: Path) -> Document:
    try:
        with config.open("rb") as file:
            table = tomllib.load(file).get(_TABLE)
    except (OSError, ValueError) as error:
        raise InputError(
            expected="a TOML file", got=quote(str(error)), where=f"in {config}", remedy="correct it"
        ) from error
    if not isinstance(table, dict):
        raise InputError(
            expected=f"a table [{_TABLE}]",
            got="none",
            where=f"in {config}",
            remedy="put the settings below it",
        )
    return table
