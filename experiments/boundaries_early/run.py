"""At which step can the final cuts be read? Attention is watched while a film is made, and held against the film.

    python experiments/boundaries_early/run.py
    python experiments/boundaries_early/run.py --quick
    python experiments/boundaries_early/run.py --model owner/name --out runs/boundaries_early_large

No mask: films cut where their caption and the model want. Films that are there are not made again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import numpy as np
import xarray as xr
from conducting import Experiment, Row, SizedModel, conduct
from measuring import ends_of

import attnscope as scope
from attnscope.dataset import Scene
from attnscope.metrics import detect_cuts, match_cuts
from attnscope.structure import (
    best_on_other_films,
    boundaries,
    boundary_error,
    mean_map,
    share_interval,
    with_cuts,
)


def make(experiment: Experiment) -> None:
    """Make the films that are not there, and watch how."""
    model, config = experiment.load_model(), experiment.config
    for condition, number, seed in experiment.missing(["no mask"]):
        frames, attention = watch(model, experiment.invent(model, number), seed, config)
        found = detect_cuts(
            frames, float(model.fps), detector="span", shortest_shot_s=0, stride=model.stride
        ).cuts_frame
        experiment.add(
            condition,
            number,
            seed,
            found_frame=list(found),
            places=attention.sizes["query_frame"] - 1,
            sigma=[float(each) for each in np.ravel(attention["sigma"].values)],
            layer=[int(each) for each in attention["layer"].values],
            **read(attention, found, **config["reading"]),
        )


def watch(model: SizedModel, scene: Scene, seed: int, config: Row) -> tuple[np.ndarray, xr.Dataset]:
    """Make one film; returns its frames, and the attention of each step and layer."""
    seen: list[np.ndarray] = []
    attention = scope.probe(
        model.pipe,
        scene.caption("exact"),
        shots=scene.plan,
        seed=seed,
        on_video=lambda run, frames: seen.append(np.asarray(frames)),
        progress=False,
        **model.size,
        **config["sampling"],
    )
    return np.round(255 * np.clip(seen[0], 0, 1)).astype(np.uint8), attention


def read(attention: xr.Dataset, found: Sequence[int], *, kernel: int, tolerance_latent: int) -> Row:
    """Look for the cuts of the finished film in attention; recall is by step and layer."""
    if not found:
        return {"cuts": [], "recall": None}
    maps = mean_map(with_cuts(attention, [found]), ("head",))
    places = boundaries(maps, num="known", kernel=kernel)
    recall = boundary_error(places, maps, tolerance_frame=tolerance_latent)["recall"]
    table = recall.squeeze(drop=True).transpose("step", "layer").values
    shots = np.ravel(maps["query_shot"].values)
    return {"cuts": (1 + np.flatnonzero(np.diff(shots))).tolist(), "recall": np.round(table, 4).tolist()}


def summarise(experiment: Experiment) -> Row:
    """Recall of the final cuts in the attention of each step; films without a cut are counted and left out."""
    every, config = experiment.rows, experiment.config
    rows = [row for row in every if row["recall"] is not None]
    found: Row = {"films": len(every), "films_with_cuts": len(rows)}
    if len(rows) < 2:  # a layer is chosen on other films
        return {"steps": [], **found}
    steps = [step_row(step, rows, **config["choosing"]) for step in range(len(rows[0]["recall"]))]
    experiment.draw("recall", steps, "recall", along="step", label="recall of the final cuts")
    return {
        "steps": steps,
        **found,
        "by_lot": float(np.mean([by_lot(row, config["reading"]["tolerance_latent"]) for row in rows])),
        "readable_from_step": readable_from(steps, **config["table"]),
    }


def step_row(step: int, rows: Sequence[Row], *, num_folds: int) -> Row:
    """One step, each film read in a layer that was chosen on others; the cuts of a film are no tries of their own."""
    recall = xr.DataArray(
        [row["recall"][step] for row in rows], dims=("prompt", "layer"), coords={"layer": rows[0]["layer"]}
    )
    found = best_on_other_films(recall, num_folds=min(num_folds, len(rows)))
    ends = share_interval(found["value"], most_tries=float(np.mean([len(row["cuts"]) for row in rows])))
    return {
        "step": step,
        "sigma": rows[0]["sigma"][step],
        "recall": {"value": float(found["value"].mean()), **ends_of(ends), "n": len(rows)},
        "layer": int(found.attrs["most_chosen"]),
    }


def by_lot(row: Row, tolerance_latent: float) -> float:
    """Recall of as many places as the film has cuts, the mean over all choices of places."""
    choices = combinations(range(1, row["places"] + 1), len(row["cuts"]))
    hits = [len(match_cuts(places, row["cuts"], tolerance_frame=tolerance_latent)) for places in choices]
    return float(np.mean(hits) / len(row["cuts"]))


def readable_from(steps: Sequence[Row], *, readable: float) -> int | None:
    """The first step from which on recall stays where cuts can be read; None where the last step is below."""
    below = [row["step"] for row in steps if row["recall"]["value"] < readable]
    first = max(below) + 1 if below else 0
    return first if first < len(steps) else None


if __name__ == "__main__":
    conduct(__file__, __doc__, make, summarise)
