"""What is shown: a dataset, where it is from, its films; and what two stores are called beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TypeAlias

import numpy as np
import xarray as xr

from attnscope._types import Frames
from attnscope.errors import InputError
from attnscope.exploring.films import Videos, find_films, make_sprite, read_films
from attnscope.exploring.packing import Packed, pack
from attnscope.schema import LAYER, PROMPT

Explored: TypeAlias = xr.Dataset | str | PathLike[str]
"""An attention dataset, or the store that one lies in."""


@dataclass(frozen=True)
class Source:
    """One side of what is shown: its numbers, its name, its films (None where there is none)."""

    dataset: xr.Dataset
    name: str
    films: tuple[Frames | None, ...]

    def pack(self, most_mb: float) -> Packed:
        """Pack it for a browser."""
        sprites = [None if film is None else make_sprite(film) for film in self.films]
        return pack(self.dataset, name=self.name, sprites=sprites, most_mb=most_mb)


def open_sources(explored: Explored, compare: Explored | None, video: Videos) -> list[Source]:
    """Open one store, or two beside each other; films that nobody gave are those that lie beside the store.

    Raises
    ------
    StoreError
        A path is no store.
    InputError
        Two stores that share no layer.
    """
    sides = [_place(each) for each in (explored, compare) if each is not None]
    names = _names(sides)
    given = read_films(video, 10**6)
    sources = []
    for place, (side, name) in enumerate(zip(sides, names, strict=True)):
        is_path = not isinstance(side, xr.Dataset)
        dataset = _read(side)
        num = int(dataset.sizes.get(PROMPT, 1))
        films: Sequence[Frames | None] = []
        if place == 0 and given:
            films = read_films(given, num)
        elif is_path:
            films = [None if path is None else read_films(path, 1)[0] for path in find_films(Path(side), num)]
        sources.append(Source(dataset, name, tuple(films)))
    if len(sources) == 2:
        _require_shared_layer(sources)
    return sources


def _place(side: Explored) -> Explored:
    """The folder of a run means the store in it."""
    from attnscope.storage import locate_store

    return side if isinstance(side, xr.Dataset) else locate_store(side)


def _read(side: Explored) -> xr.Dataset:
    from attnscope.storage import open_store

    return side if isinstance(side, xr.Dataset) else open_store(side)


def _names(sides: Sequence[Explored]) -> list[str]:
    paths = [None if isinstance(side, xr.Dataset) else Path(side) for side in sides]
    if len(paths) == 2 and paths[0] is not None and paths[1] is not None:
        return list(names_apart(paths[0], paths[1]))
    usual = ("first", "second") if len(sides) == 2 else ("attention",)
    return [name if path is None else name_of(path) for path, name in zip(paths, usual, strict=True)]


def name_of(store: Path) -> str:
    """Call a store by its folder where it is called as all of them are.

    >>> name_of(Path("runs/ball/attention.zarr")), name_of(Path("masked.zarr"))
    ('ball', 'masked')
    """
    path = store.resolve()
    return path.parent.name if path.stem == "attention" else path.stem


def names_apart(first: Path, second: Path) -> tuple[str, str]:
    """Call two stores by the parts of their paths in which they differ.

    >>> names_apart(Path("runs/plain/attention.zarr"), Path("runs/masked/attention.zarr"))
    ('plain', 'masked')
    """
    parts = zip(reversed(first.resolve().parts), reversed(second.resolve().parts), strict=False)
    one, other = next(((one, other) for one, other in parts if one != other), ("first", "second"))
    return one.removesuffix(".zarr"), other.removesuffix(".zarr")


def shared_layers(first: xr.Dataset, second: xr.Dataset) -> list[int]:
    """Give the layers that both have, by label."""
    layers: list[int] = np.intersect1d(first[LAYER].values, second[LAYER].values).tolist()
    return layers


def _require_shared_layer(sources: Sequence[Source]) -> None:
    first, second = (source.dataset for source in sources)
    if not shared_layers(first, second):
        raise InputError(
            expected="two stores that share a layer",
            got=" and ".join(
                f"layers {int(each[LAYER].min())}-{int(each[LAYER].max())}" for each in (first, second)
            ),
            where="to compare",
            remedy="probe the same layers twice",
        )
