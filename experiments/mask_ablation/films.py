"""Films that were made once and are kept: one array a film, looked at as often as one likes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]


def path_of(out: Path, model: str, condition: str, number: int, seed: int) -> Path:
    """Where a film lies."""
    return out / model / condition / f"{number}-{seed}.npy"


def keep(path: Path, make: Callable[[], Frames]) -> bool:
    """Make a film unless it is there; written beside its place first, so that what is there is whole."""
    if path.is_file():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    with unfinished.open("wb") as file:
        np.save(file, make())
    unfinished.replace(path)
    print(path, flush=True)
    return True


def kept(out: Path, model: str, condition: str) -> dict[tuple[int, int], Frames]:
    """All films of a condition, by number and seed."""
    films = {}
    for path in sorted((out / model / condition).glob("*.npy")):
        number, seed = map(int, path.stem.split("-"))
        films[number, seed] = np.load(path)
    return films
