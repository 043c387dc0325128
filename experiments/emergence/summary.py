"""The contrast of attention by training step: over all layers and of each, with intervals over runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from attnscope.structure import interval, mean_over


def geometric(values: xr.DataArray) -> dict[str, Any]:
    """A geometric mean over runs with its 95 % interval (Student's, of logarithms); no ends below three runs."""
    low, high = (None if bool(end.isnull()) else float(end) for end in interval(values, "run", scale="log"))
    mean = mean_over(values, "run", scale="log")
    return {"mean": float(mean), "low": low, "high": high, "n": int(values.notnull().sum())}


def rows_of(contrast: xr.DataArray) -> list[dict[str, Any]]:
    """One row a training step: contrast over all layers, its change since step 0, and the layer with the most."""
    whole = mean_over(contrast, "layer", scale="log")
    by_layer = mean_over(contrast, "run", scale="log")
    return [
        {
            "step": step,
            "contrast": geometric(whole.sel(step=step)),
            "since_step_0": geometric(whole.sel(step=step) / whole.sel(step=0)),
            "by_layer": np.round(by_layer.sel(step=step).values, 4).tolist(),
            "strongest_layer": int(by_layer.sel(step=step).idxmax("layer")),
        }
        for step in contrast["step"].values.tolist()
    ]


def summarise(log: Path, results: Path, config: dict[str, Any]) -> None:
    """Write the table of all runs that are there, and print it."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    coords = {"step": lines[0]["step"], "layer": lines[0]["layer"]}
    contrast = xr.DataArray([line["contrast"] for line in lines], coords, dims=("run", "step", "layer"))
    rows = rows_of(contrast)
    table = {"config": config, "layer": lines[0]["layer"], "steps": rows}
    results.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    for row in rows:
        mean, since = row["contrast"], row["since_step_0"]
        print(
            f"step {row['step']:4d}  contrast {mean['mean']:.3f}  since step 0 {since['mean']:.3f} "
            f"({since['low']} to {since['high']}, n {since['n']})  strongest layer {row['strongest_layer']}"
        )
