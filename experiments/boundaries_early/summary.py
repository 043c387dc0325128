"""Recall of the final cuts in the attention of each step, each film read in a layer that was chosen on other films."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from attnscope.metrics import match_cuts
from attnscope.structure import best_on_other_films, share_interval

Line = dict[str, Any]


def by_lot(line: Line, tolerance_latent: float) -> float:
    """Recall of as many places as the film has cuts, the mean over all choices of places."""
    choices = combinations(range(1, line["places"] + 1), len(line["cuts"]))
    hits = [len(match_cuts(places, line["cuts"], tolerance_frame=tolerance_latent)) for places in choices]
    return float(np.mean(hits) / len(line["cuts"]))


def step_row(step: int, lines: list[Line], config: dict[str, Any]) -> dict[str, Any]:
    """One step: recall with its interval over films, the cuts of a film together, and the layer most films got."""
    recall = xr.DataArray(
        [line["recall"][step] for line in lines],
        dims=("prompt", "layer"),
        coords={"layer": lines[0]["layer"]},
    )
    found = best_on_other_films(recall, num_folds=min(config["reading"]["num_folds"], len(lines)))
    low, high = share_interval(
        found["value"], most_tries=float(np.mean([len(line["cuts"]) for line in lines]))
    )
    ends = [None if bool(end.isnull()) else float(end) for end in (low, high)]
    return {
        "step": step,
        "sigma": lines[0]["sigma"][step],
        "recall": float(found["value"].mean()),
        "low": ends[0],
        "high": ends[1],
        "n": len(lines),
        "layer": int(found.attrs["most_chosen"]),
    }


def readable_from(rows: list[dict[str, Any]], least: float) -> int | None:
    """The first step from which on recall stays at the least or above; None where the last step is below."""
    below = [row["step"] for row in rows if row["recall"] < least]
    first = max(below) + 1 if below else 0
    return first if first < len(rows) else None


def summarise(log: Path, results: Path, config: dict[str, Any]) -> None:
    """Write the table of all films that are there, and print it; films without a cut are counted and left out."""
    every = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    lines = [line for line in every if line["recall"] is not None]
    if len(lines) < 2:
        raise SystemExit(
            f"{len(lines)} of {len(every)} films have a cut; two are needed to choose a layer on others"
        )
    rows = [step_row(step, lines, config) for step in range(len(lines[0]["recall"]))]
    reading = config["reading"]
    table = {
        "config": config,
        "films": len(every),
        "films_with_cuts": len(lines),
        "by_lot": float(np.mean([by_lot(line, reading["tolerance_latent"]) for line in lines])),
        "readable_from_step": readable_from(rows, reading["readable"]),
        "steps": rows,
    }
    results.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    print(f"{len(lines)} of {len(every)} films have a cut; by lot {table['by_lot']:.2f}")
    for row in rows:
        print(
            f"step {row['step']:2d}  sigma {row['sigma']:.2f}  layer {row['layer']:2d}  recall {row['recall']:.2f}"
        )
