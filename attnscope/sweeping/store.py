"""Films of a sweep that were made and looked at: one small file each, whole or not there, in a folder with a header.

The layout::

    folder/
    ├── sweep.json     what all films have in common: model, prompts, plans, rule, arguments
    └── films/         <film>-<seed>-<digest of the variant>.json: the cuts that were found
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
from attnscope.storage.disk import create_tree, explain, write_durably
from attnscope.sweeping.variants import Variant, facts_of, variant_from

HEADER_FILE, FILMS = "sweep.json", "films"
FORMAT = "attnscope sweep 1"

_MEASURES = ("recall", "precision", "transition_control")


@dataclass(frozen=True)
class FilmKey:
    """One film: which prompt, which seed, which variant."""

    film: int
    seed: int
    variant: Variant

    @property
    def file_name(self) -> str:
        """Where it lies among the films."""
        return f"{self.film}-{self.seed}-{self.variant.digest}.json"


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
        with explain(path):
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

    def has(self, key: FilmKey) -> bool:
        """Say whether a film was looked at."""
        return (self.path / FILMS / key.file_name).is_file()

    def put(self, key: FilmKey, found_frame: Sequence[int]) -> None:
        """Write down what was found in a film, durably."""
        row = {
            "film": key.film,
            "seed": key.seed,
            "cell": facts_of(key.variant),
            "found_frame": list(found_frame),
        }
        write_durably(self.path / FILMS / key.file_name, json.dumps(row).encode())

    def found_frame(self, key: FilmKey) -> tuple[int, ...] | None:
        """The cuts of a film, None if it is still to be made.

        Raises
        ------
        StoreError
            What was written down is damaged.
        """
        row = _read(self.path / FILMS / key.file_name)
        return None if row is None else tuple(row["found_frame"])

    def variants(self) -> tuple[Variant, ...]:
        """All variants of which there is a film, in no particular order but always the same."""
        variants: dict[str, Variant] = {}
        for path in sorted((self.path / FILMS).glob("*.json")):
            row = _read(path)
            if row is not None:
                variant = variant_from(row["cell"])
                variants.setdefault(variant.digest, variant)
        labels = [variant.label for variant in variants.values()]
        # two sweeps of one folder may both have a variant "full", in different layers
        return tuple(
            replace(variant, label=f"{variant.label} (layers {variant.layers})")
            if labels.count(variant.label) > 1
            else variant
            for variant in variants.values()
        )

    def dataset(self, variants: Iterable[Variant] | None = None) -> xr.Dataset:
        """What was found, over (prompt, seed, cell); nan where a film is still to be made."""
        listed = tuple(self.variants() if variants is None else variants)
        prompts, seeds = self.header["prompts"], self.header["seeds"]
        shape = (len(prompts), len(seeds), len(listed))
        arrays = {name: np.full(shape, np.nan) for name in ("num_detected", "num_matched", *_MEASURES)}
        for film, asked in enumerate(self.header["cuts_frame"]):
            for row, seed in enumerate(seeds):
                for column, variant in enumerate(listed):
                    found = self.found_frame(FilmKey(film, seed, variant))
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


def _coordinates(header: dict[str, Any], variants: Sequence[Variant]) -> dict[str, Any]:
    cuts = [",".join(map(str, asked)) for asked in header["cuts_frame"]]
    of_variants = {
        name: ("cell", [getattr(variant, name) for variant in variants])
        for name in ("layers", "heads", "steps", "strength", "jitter")
    }
    return {
        "prompt": range(len(header["prompts"])),
        "text": ("prompt", header["prompts"]),
        "cuts_frame": ("prompt", cuts),
        "seed": header["seeds"],
        "cell": [variant.label for variant in variants],
        **of_variants,
    }


def _read(path: Path) -> dict[str, Any] | None:
    with explain(path):
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
