"""Ask how often each p is wrong where there is nothing, how often it finds a contrast, and how often intervals hold.

    python experiments/calibration/run.py --out runs/calibration                 # all cells; killed, it goes on
    python experiments/calibration/run.py --out runs/calibration --table         # the tables of docs/calibration.md

Synthetic films over kinds of plans, lengths, pulls of frame 0 and numbers of films; recall of sweeps; the consistency
gap; and one-shot films that the embedded models look at, against imaginary cuts (`--films` of them, 60 by default).
Each cell is one line of cells-*.jsonl; several processes share them with --part 0/2 and --part 1/2.
"""

from __future__ import annotations

import argparse
import json
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cells
import numpy as np
from films import KINDS, REAL_KINDS, SINKS, plans_of
from report import print_tables

import attnscope as scope
from attnscope.dataset import render, sample_scene

HELD_OUT_SEED = 20_000_000
FRAMES = (5, 9, 13, 21)
FILMS = (1, 3, 5, 10, 40)
REAL_FILMS = (5, 10, 40, 60)
MODELS = ("wan-mini", "wan-mini-nocuts")
Cell = Callable[[], dict[str, Any]]


def seed_of(name: str) -> int:
    """A seed for each cell that stays what it is when cells are added."""
    return zlib.crc32(name.encode())


def synthetic(num_repeats: int) -> Iterator[tuple[str, Cell]]:
    """Size and coverage at contrast 1; power and coverage at 1.3, where nothing pulls at frame 0."""
    for kind in KINDS:
        for num_frames in FRAMES:
            if len(plans_of(KINDS[kind], num_frames)) == 0:
                continue
            for sink in SINKS:
                for num_films in FILMS:
                    for contrast in (1.0, 1.3) if sink == "none" else (1.0,):
                        name = f"synthetic/{kind}/{num_frames}/{sink}/{num_films}/{contrast:g}"
                        # forty films cost as much as the rest together
                        repeats = max(200, num_repeats // (2 if num_films >= 40 else 1))
                        yield (
                            name,
                            partial(
                                cells.synthetic_cell,
                                KINDS[kind],
                                num_frames,
                                num_films,
                                contrast=contrast,
                                sink=sink,
                                num_repeats=repeats,
                                seed=seed_of(name),
                            ),
                        )


def shares(num_repeats: int) -> Iterator[tuple[str, Cell]]:
    """Coverage of the intervals of a sweep."""
    for num_films in (*FILMS, 4, 20):
        for num_cuts in (1, 3):
            for together in (0.0, 0.5, 1.0):
                name = f"share/{num_films}/{num_cuts}/{together:g}"
                yield (
                    name,
                    partial(
                        cells.share_cell,
                        num_films,
                        num_cuts=num_cuts,
                        together=together,
                        num_repeats=4 * num_repeats,
                        seed=seed_of(name),
                    ),
                )


def pooled(num_repeats: int) -> Iterator[tuple[str, Cell]]:
    """Coverage of the interval of a share of all cuts, where films have different numbers of them."""
    for num_films in (5, 10, 20, 40):
        for numbers_of_cuts in cells.NUMBERS_OF_CUTS:
            for together in (False, True):
                name = f"pooled/{num_films}/{numbers_of_cuts}/{together:d}"
                yield (
                    name,
                    partial(
                        cells.pooled_cell,
                        num_films,
                        numbers_of_cuts,
                        together=together,
                        num_repeats=4 * num_repeats,
                        seed=seed_of(name),
                    ),
                )


def gaps(num_repeats: int) -> Iterator[tuple[str, Cell]]:
    """False alarms of the consistency gap for videos and references of one distribution, and how its interval holds."""
    for num_videos in (20, 50, 200):
        for num_reference in (20, 50, 200):
            for what in cells.GAPS:
                name = f"gap/{num_videos}/{num_reference}/{what}"
                repeats, seed = max(100, num_repeats // 4), seed_of(name)
                yield (
                    name,
                    partial(cells.gap_cell, what, num_videos, num_reference, num_repeats=repeats, seed=seed),
                )


def real(out: Path, num_films: int, num_repeats: int) -> Iterator[tuple[str, Cell]]:
    """The embedded models on films of one shot."""
    for model in MODELS:
        for kind in REAL_KINDS:
            for number in REAL_FILMS:
                name = f"real/{model}/{kind}/{number}"
                yield (
                    name,
                    partial(_real_cell, out, model, num_films, kind, number, num_repeats, seed_of(name)),
                )


def _real_cell(
    out: Path, model: str, num_films: int, kind: str, number: int, num_repeats: int, seed: int
) -> dict[str, Any]:
    maps = one_shot_maps(out, model, num_films)
    return cells.real_cell(maps, REAL_KINDS[kind], min(number, num_films), num_repeats=num_repeats, seed=seed)


def one_shot_maps(out: Path, model: str, num_films: int) -> np.ndarray:
    """Look at films of one shot at low noise; the maps of each head: `(films, layers x heads, F, F)`."""
    scenes = [sample_scene(HELD_OUT_SEED + number, num_shots=1, num_frames=49) for number in range(num_films)]
    dataset = scope.probe_video(
        scope.load(model),
        [render(scene) for scene in scenes],
        prompt=[scene.caption("none") for scene in scenes],
        sigmas=[0.75, 0.5, 0.25, 0.1],
        shots=[scene.plan for scene in scenes],
        out=out / f"one-shot-{model}-49.zarr",
    )
    low = dataset.sel(branch="cond", step=dataset.sigma <= 0.5)
    maps = scope.structure.mean_map(low, "step").mass.transpose("prompt", "layer", "head", ...)
    values = maps.values
    return values.reshape(len(values), -1, *values.shape[-2:])


def finish(path: Path, every: list[tuple[str, Cell]]) -> None:
    """Run the cells that are not there yet."""
    done = {json.loads(line)["cell"] for line in path.read_text().splitlines()} if path.is_file() else set()
    with path.open("a") as file:
        for number, (name, cell) in enumerate(every):
            if name in done:
                continue
            start = time.monotonic()
            file.write(json.dumps({"cell": name, **cell()}) + "\n")
            file.flush()
            print(f"{number + 1}/{len(every)} {name} {time.monotonic() - start:.1f} s", flush=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/calibration"))
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--films", type=int, default=60)
    parser.add_argument("--only", default="synthetic,share,pooled,gap,real")
    parser.add_argument("--part", default="0/1", help="this process's part of the cells, as index/count")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.table:
        print_tables(given.out)
        return
    every = [
        *synthetic(given.repeats),
        *shares(given.repeats),
        *pooled(given.repeats),
        *gaps(given.repeats),
        *real(given.out, given.films, max(10, given.repeats // 50)),
    ]
    chosen = [cell for cell in every if cell[0].split("/")[0] in given.only.split(",")]
    index, count = map(int, given.part.split("/"))
    finish(given.out / f"cells-{index}-of-{count}.jsonl", chosen[index::count])


if __name__ == "__main__":
    main()
