"""Can attention forbid cuts? Films that cut by themselves, and the same films with their one shot held together.

    python experiments/hold_together/run.py --out runs/hold_together            # resumable at any moment
    python experiments/hold_together/run.py --out runs/hold_together --table
    python experiments/hold_together/run.py --quick

Prompts are captions of films with two and three shots, so the model cuts without being told where. `held-together`
counts every other frame of the film `factor` times, in all layers. The factor is chosen on prompts of its own and
reported on others.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

import attnscope as scope
from attnscope import masks
from attnscope.dataset import sample_scene
from attnscope.structure import wilson

HERE = Path(__file__).parent
CHOOSING_SEED, REPORTED_SEED = 40_000_000, 41_000_000
NOT_HELD = 1.0
FACTORS = (2.0, 4.0, 8.0, 16.0)
NUM_FRAMES, FPS = 49, 16
DETECTORS = ("span", "transnetv2")


class Size(NamedTuple):
    """How many films, and how they are made."""

    choosing: int = 8
    reported: int = 30
    num_inference_steps: int = 20


QUICK = Size(choosing=1, reported=1, num_inference_steps=2)


def prompt_of(seed: int) -> str:
    """The caption of a film of two or three shots."""
    return sample_scene(seed, num_shots=2 + seed % 2, num_frames=NUM_FRAMES, world="textured").caption("none")


def make(pipe: object, seed: int, factor: float, steps: int) -> np.ndarray:
    """One film, held together unless the factor is 1."""
    plan = scope.ShotPlan.from_frames([], num_frames=NUM_FRAMES, fps=FPS)
    rule = masks.preset("held-together", plan, factor=factor) if factor != NOT_HELD else None
    film = scope.generate(
        pipe, prompt_of(seed), shots=plan, rule=rule, seed=seed, num_inference_steps=steps, progress=False
    )
    return film.frames


def look(frames: np.ndarray) -> dict[str, float]:
    """How many cuts each detector finds, and how much the film moves and changes from end to end."""
    found: dict[str, float] = {
        name: len(scope.metrics.detect_cuts(frames, FPS, detector=name, shortest_shot_s=0).cuts_frame)
        for name in DETECTORS
    }
    values = frames.astype(np.float64) / 255
    found["motion"] = float(np.sqrt(((values[1:] - values[:-1]) ** 2).mean(axis=(1, 2, 3))).mean())
    found["ends apart"] = float(np.sqrt(((values[-1] - values[0]) ** 2).mean()))
    return found


def fill(pipe: object, log: Path, seeds: Iterable[int], factors: Iterable[float], steps: int) -> None:
    """Make and measure the films that are not in the log."""
    there = {(row["seed"], row["factor"]) for row in read(log)}
    for seed, factor in product(seeds, factors):
        if (seed, factor) in there:
            continue
        row = {"seed": seed, "factor": factor, **look(make(pipe, seed, factor, steps))}
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
        print(row, flush=True)


def read(log: Path) -> list[dict[str, float]]:
    """All films that were measured."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []


def choose(rows: list[dict[str, float]]) -> float:
    """The least factor that leaves the fewest films with a cut (`span`), on the films for choosing alone."""
    chosen = [row for row in rows if row["seed"] < REPORTED_SEED]
    shares = {
        factor: np.mean([row["span"] > 0 for row in chosen if row["factor"] == factor]) for factor in FACTORS
    }
    return min(shares, key=lambda factor: (shares[factor], factor))


def summarise(log: Path, results: Path) -> None:
    """Print and write the table of the films that nothing was chosen on."""
    rows = [row for row in read(log) if row["seed"] >= REPORTED_SEED]
    factor = choose(read(log))
    cells = []
    for held in (NOT_HELD, factor):
        films = [row for row in rows if row["factor"] == held]
        cell: dict[str, object] = {"factor": held, "n": len(films)}
        for name in DETECTORS:
            cut = sum(row[name] > 0 for row in films)
            low, high = (float(end) for end in wilson(cut, len(films)))
            cell[name] = {"films_with_cuts": cut, "low": low, "high": high}
        for name in ("motion", "ends apart"):
            cell[name] = float(np.mean([row[name] for row in films]))
        cells.append(cell)
        print(json.dumps(cell))
    document = {"chosen_factor": factor, "cells": cells, "paired": compare(rows, factor)}
    print(json.dumps(document["paired"]))
    results.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def compare(rows: list[dict[str, float]], factor: float) -> dict[str, dict[str, float]]:
    """Films that lost their cuts and films that won some, and the sign test on both."""
    from scipy.stats import binomtest

    found = {}
    for name in DETECTORS:
        free, held = (
            {row["seed"]: row[name] > 0 for row in rows if row["factor"] == each}
            for each in (NOT_HELD, factor)
        )
        lost = sum(free[seed] and not held[seed] for seed in held)
        won = sum(held[seed] and not free[seed] for seed in held)
        p = float(binomtest(lost, lost + won).pvalue) if lost + won else 1.0
        found[name] = {"lost": lost, "won": won, "p": p}
    return found


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="wan-mini")
    parser.add_argument("--out", type=Path, default=Path("runs/hold_together"))
    parser.add_argument("--results", type=Path, help="where the table goes; beside the log by default")
    parser.add_argument(
        "--table", action="store_true", help="make no films, only the table of those there are"
    )
    parser.add_argument("--quick", action="store_true", help="two films of two steps, to see that it runs")
    given = parser.parse_args()
    size, out = (QUICK, given.out / "quick") if given.quick else (Size(), given.out)
    out.mkdir(parents=True, exist_ok=True)
    log = out / "films.jsonl"
    if not given.table:
        pipe = scope.load(given.model)
        fill(
            pipe,
            log,
            range(CHOOSING_SEED, CHOOSING_SEED + size.choosing),
            (NOT_HELD, *FACTORS),
            size.num_inference_steps,
        )
        reported = range(REPORTED_SEED, REPORTED_SEED + size.reported)
        fill(pipe, log, reported, (NOT_HELD, choose(read(log))), size.num_inference_steps)
    summarise(log, given.results or out / "results.json")


if __name__ == "__main__":
    main()
