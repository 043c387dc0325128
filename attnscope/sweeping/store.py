"""Films of a sweep that were made and looked at: whole or not there, in a folder with a header.

The layout::

    folder/
    ├── sweep.json     what all films have in common: model, prompts, plans, rule, arguments
    └── films/         <film>-<seed>-<digest of the variant>: .json the cuts that were found, .mp4 and .png to look at
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import xarray as xr

from attnscope._types import Document
from attnscope.errors import InputError, StoreError, quote
from attnscope.intervening.cut_check import CutCheck
from attnscope.storage.disk import create_tree, explain, write_durably
from attnscope.storage.sealed import Body, SealError, document_error, read_sealed, seal, write_sealed
from attnscope.sweeping.variants import Variant, facts_of, variant_from

HEADER_FILE, FILMS = "sweep.json", "films"
HEADER_KIND, FILM_KIND = "attnscope sweep 2", "attnscope film of a sweep 2"

_MEASURES = ("recall", "precision", "transition_control")


class SweepHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What all films of a sweep have in common."""

    model: str
    weights: str
    rule: str
    prompts: list[str]
    seeds: list[int]
    num_frames: list[int]
    cuts_frame: list[list[int]]
    arguments: Document


class WrittenVariant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A variant as JSON can hold it: no strength is an infinite one."""

    label: str
    layers: str
    heads: str
    steps: str
    strength: float | None
    jitter: int


class Result(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was found in one film, and which film of which sweep it is."""

    sweep: str
    film: int
    seed: int
    variant: WrittenVariant
    found_frame: tuple[int, ...]


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

    def __init__(self, path: Path, header: SweepHeader) -> None:
        self.path, self.header = path, header
        self._digest = hashlib.sha256(seal(HEADER_KIND, header)).hexdigest()

    @classmethod
    def open(cls, path: Path) -> SweepStore:
        """Open a sweep that exists.

        Raises
        ------
        StoreError
            There is none, or its header is damaged or of another version.
        """
        header = _read(path / HEADER_FILE, HEADER_KIND, SweepHeader, "begin the sweep anew in another folder")
        if header is None:
            raise StoreError(
                expected=f"a folder with the header {HEADER_FILE} of a sweep",
                got="none",
                where=f"in {path}",
                remedy="give the folder that attnscope sweep wrote",
            )
        return cls(path, header)

    @classmethod
    def resume_or_create(cls, path: Path, header: SweepHeader) -> tuple[SweepStore, bool]:
        """Go on with the sweep in a folder, or begin it; never mixes two. Also says whether it has begun just now.

        Raises
        ------
        StoreError
            The folder holds something else, or a sweep of other settings; the message names the first difference.
        """
        with explain(path):
            begun = path.exists()
        if not begun:
            create_tree(path, {HEADER_FILE: seal(HEADER_KIND, header), f"{FILMS}/.keep": b""})
        store = cls.open(path)
        for name in SweepHeader.__struct_fields__:
            was, now = getattr(store.header, name), getattr(header, name)
            if was != now:
                raise StoreError(
                    expected="the settings this sweep was begun with",
                    got=f"{name} {quote(now, 80)} where it was {quote(was, 80)}",
                    where=f"in {path}",
                    remedy="repeat them to resume, or choose another folder",
                )
        return store, not begun

    def discard(self) -> None:
        """Take a folder away in which no film has come to lie."""
        if not any((self.path / FILMS).glob("*.json")):
            shutil.rmtree(self.path, ignore_errors=True)

    def has(self, key: FilmKey) -> bool:
        """Say whether a film was looked at."""
        return self.read_cuts(key) is not None

    def put(self, key: FilmKey, found_frame: Sequence[int], shown: Mapping[str, bytes]) -> None:
        """Write down what was found in a film, durably; before it what people look at, by the ending of its file."""
        for ending, content in shown.items():
            write_durably((self.path / FILMS / key.file_name).with_suffix(ending), content)
        variant = WrittenVariant(**facts_of(key.variant))
        result = Result(self._digest, key.film, key.seed, variant, tuple(found_frame))
        write_sealed(self.path / FILMS / key.file_name, FILM_KIND, result)

    def read_cuts(self, key: FilmKey) -> tuple[int, ...] | None:
        """The cuts of a film, None if it is still to be made.

        Raises
        ------
        StoreError
            What was written down is damaged, or belongs to another film.
        """
        found = self._read_film(self.path / FILMS / key.file_name)
        return None if found is None else found.found_frame

    def variants(self) -> tuple[Variant, ...]:
        """All variants of which there is a film, in no particular order but always the same."""
        variants: dict[str, Variant] = {}
        for path in sorted((self.path / FILMS).glob("*.json")):
            found = self._read_film(path)
            if found is not None:
                variant = variant_from(msgspec.structs.asdict(found.variant))
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
        prompts, seeds = self.header.prompts, self.header.seeds
        shape = (len(prompts), len(seeds), len(listed))
        arrays = {name: np.full(shape, np.nan) for name in ("num_detected", "num_matched", *_MEASURES)}
        for film, asked in enumerate(self.header.cuts_frame):
            for row, seed in enumerate(seeds):
                for column, variant in enumerate(listed):
                    found = self.read_cuts(FilmKey(film, seed, variant))
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
            | {"num_requested": ("prompt", [len(asked) for asked in self.header.cuts_frame])},
            _coordinates(self.header, listed),
            {"model": self.header.model, "weights": self.header.weights, "rule": self.header.rule},
        )

    def _read_film(self, path: Path) -> Result | None:
        found = _read(path, FILM_KIND, Result, "delete it to make this film again")
        if found is None:
            return None
        key = FilmKey(found.film, found.seed, variant_from(msgspec.structs.asdict(found.variant)))
        if found.sweep != self._digest or key.file_name != path.name:
            raise StoreError(
                expected="the film that belongs here",
                got="that of another sweep or place",
                where=f"in {path}",
                remedy="delete it to make this film again",
            )
        return found


def _coordinates(header: SweepHeader, variants: Sequence[Variant]) -> dict[str, object]:
    cuts = [",".join(map(str, asked)) for asked in header.cuts_frame]
    of_variants = {
        name: ("cell", [getattr(variant, name) for variant in variants])
        for name in ("layers", "heads", "steps", "strength", "jitter")
    }
    return {
        "prompt": range(len(header.prompts)),
        "text": ("prompt", header.prompts),
        "cuts_frame": ("prompt", cuts),
        "seed": header.seeds,
        "cell": [variant.label for variant in variants],
        **of_variants,
    }


def header_of(**facts: Any) -> SweepHeader:
    """Write down what all films have in common, in the form in which it is read again.

    Raises
    ------
    InputError
        Arguments that cannot be written down.
    """
    try:
        header = SweepHeader(**facts)
        seal(HEADER_KIND, header)
        return msgspec.json.decode(msgspec.json.encode(header), type=SweepHeader)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            expected="arguments of the pipeline that can be written down, numbers and words",
            got=quote(str(error), 100),
            where="in sweep",
            remedy="leave out tensors, functions, nan and infinity",
        ) from error


def _read(path: Path, kind: str, body: type[Body], remedy: str) -> Body | None:
    try:
        return read_sealed(path, kind, body)
    except SealError as error:
        raise document_error(path, kind, error, remedy) from error
