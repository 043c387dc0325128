"""Films of a sweep that were made and looked at: one small file each, whole or not there, in a folder with a header.

The layout::

    folder/
    ├── sweep.json     what all films have in common: model, prompts, plans, rule, arguments
    └── films/         <film>-<seed>-<digest of the cell>.json: the cuts that were found
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from attnscope.errors import StoreError, quote
from attnscope.intervening.cut_check import CutCheck
from attnscope.storage.disk import create_tree, explained, write_durably
from attnscope.sweeping.cells import Cell, cell_from, facts_of

HEADER_FILE, FILMS = "sweep.json", "films"
FORMAT = "attnscope sweep 1"

_MEASURES = ("recall", "precision", "transition_control")


@dataclass(frozen=True)
class Unit:
    """One film: which prompt, which seed, which cell."""

    film: int
    seed: int
    cell: Cell

    @property
    def file_name(self) -> str:
        """Where it lies among the films."""
        return f"{self.film}-{self.seed}-{self.cell.digest}.json"


class SweepStore:
    """A folder of films that were looked at."""

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self.path, self.header = path, header

    @classmethod
    def open(cls, path: Path) -> SweepStore:
        """Open a sweep that exists.

        Raises
        ------
        StoreError
            There is none, or its header is damaged.
        """
        header = _read(path / HEADER_FILE)
        if header is None or header.get("format") != FORMAT:
            raise StoreError(
                expected=f"a folder with the header {HEADER_FILE} of a sweep",
                got="none",
                where=f"in {path}",
                remedy="give the folder that attnscope sweep wrote",
            )
        return cls(path, header)

    @classmethod
    def resume_or_create(cls, path: Path, header: dict[str, Any]) -> SweepStore:
        """Go on with the sweep in a folder, or begin it; never mixes two.

        Raises
        ------
        StoreError
            The folder holds something else, or a sweep of other settings; the message names the first difference.
        """
        wanted = {"format": FORMAT, **json.loads(json.dumps(header))}
        with explained(path):
            begun = path.exists()
        if not begun:
            create_tree(path, {HEADER_FILE: json.dumps(wanted, indent=1).encode(), f"{FILMS}/.keep": b""})
        store = cls.open(path)
        for name in [*wanted, *store.header]:
            was, now = store.header.get(name), wanted.get(name)
            if was != now:
                raise StoreError(
                    expected="the settings this sweep was begun with",
                    got=f"{name} {quote(now, 80)} where it was {quote(was, 80)}",
                    where=f"in {path}",
                    remedy="repeat them to resume, or choose another folder",
                )
        return store

    def has(self, unit: Unit) -> bool:
        """Say whether a film was looked at."""
        return (self.path / FILMS / unit.file_name).is_file()

    def put(self, unit: Unit, found_frame: Sequence[int]) -> None:
        """Write down what was found in a film, durably."""
        row = {
            "film": unit.film,
            "seed": unit.seed,
            "cell": facts_of(unit.cell),
            "found_frame": list(found_frame),
        }
        write_durably(self.path / FILMS / unit.file_name, json.dumps(row).encode())

    def found_frame(self, unit: Unit) -> tuple[int, ...] | None:
        """The cuts of a film, None if it is still to be made.

        Raises
        ------
        StoreError
            What was written down is damaged.
        """
        row = _read(self.path / FILMS / unit.file_name)
        return None if row is None else tuple(row["found_frame"])

    def cells(self) -> tuple[Cell, ...]:
        """All cells of which there is a film, in no particular order but always the same."""
        cells: dict[str, Cell] = {}
        for path in sorted((self.path / FILMS).glob("*.json")):
            row = _read(path)
            if row is not None:
                cell = cell_from(row["cell"])
                cells.setdefault(cell.digest, cell)
        labels = [cell.label for cell in cells.values()]
        # two sweeps of one folder may both have a cell "full", in different layers
        return tuple(
            replace(cell, label=f"{cell.label} (layers {cell.layers})")
            if labels.count(cell.label) > 1
            else cell
            for cell in cells.values()
        )

    def dataset(self, cells: Iterable[Cell] | None = None) -> xr.Dataset:
        """What was found, over (prompt, seed, cell); nan where a film is still to be made."""
        listed = tuple(self.cells() if cells is None else cells)
        prompts, seeds = self.header["prompts"], self.header["seeds"]
        shape = (len(prompts), len(seeds), len(listed))
        arrays = {name: np.full(shape, np.nan) for name in ("num_detected", "num_matched", *_MEASURES)}
        for film, asked in enumerate(self.header["cuts_frame"]):
            for row, seed in enumerate(seeds):
                for column, cell in enumerate(listed):
                    found = self.found_frame(Unit(film, seed, cell))
                    if found is None:
                        continue
                    check, place = CutCheck(tuple(asked), found), (film, row, column)
                    arrays["num_detected"][place], arrays["num_matched"][place] = (
                        len(found),
                        check.num_matched,
                    )
                    for name in _MEASURES:
                        value = getattr(check, name)
                        arrays[name][place] = np.nan if value is None else value
        return xr.Dataset(
            {name: (("prompt", "seed", "cell"), values) for name, values in arrays.items()}
            | {"num_requested": ("prompt", [len(asked) for asked in self.header["cuts_frame"]])},
            _coordinates(self.header, listed),
            {name: value for name, value in self.header.items() if isinstance(value, str)},
        )


def _coordinates(header: dict[str, Any], cells: Sequence[Cell]) -> dict[str, Any]:
    cuts = [",".join(map(str, asked)) for asked in header["cuts_frame"]]
    of_cells = {
        name: ("cell", [getattr(cell, name) for cell in cells])
        for name in ("layers", "heads", "steps", "strength", "jitter")
    }
    return {
        "prompt": range(len(header["prompts"])),
        "text": ("prompt", header["prompts"]),
        "cuts_frame": ("prompt", cuts),
        "seed": header["seeds"],
        "cell": [cell.label for cell in cells],
        **of_cells,
    }


def _read(path: Path) -> dict[str, Any] | None:
    with explained(path):
        content = path.read_bytes() if path.is_file() else None
    if content is None:
        return None
    try:
        document = json.loads(content)
        if not isinstance(document, dict):
            raise ValueError("no object")
    except ValueError as error:
        raise StoreError(
            expected="JSON as it was written",
            got="a damaged file",
            where=f"at {path}",
            remedy="delete it to make this film again",
        ) from error
    return document
