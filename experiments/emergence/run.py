"""When does block structure come? A base that does not cut is tuned on films with cuts, its attention on record.

    python experiments/emergence/run.py
    python experiments/emergence/run.py --quick
    python experiments/emergence/run.py --model owner/name --out runs/emergence_large

No mask, and one caption for all shots. Training goes on from its last checkpoint, and what was measured is not measured
again.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import numpy as np
import xarray as xr
from conducting import Experiment, Row, conduct
from measuring import ends_of

import attnscope as scope
from attnscope.structure import adjusted_contrast, interval, mean_over


def make(experiment: Experiment) -> None:
    """Tune the base on films of each run's own, and measure its attention at all training steps."""
    clips = experiment.config["clips"]
    for condition, run, seed in experiment.missing(["contrast"]):
        own = {**clips, "first_seed": clips["first_seed"] + run * clips["num"]}
        model = experiment.load_model()
        folder = experiment.train(f"run-{run}", model, model.clips(**own), seed=run)
        experiment.add(condition, run, seed, **measure(folder / "attention.zarr"))


def measure(store: Path) -> Row:
    """How many times more a frame looks into its own shot, by training step and layer, over the recorded films."""
    attention = scope.open_store(store)
    contrast = adjusted_contrast(attention, over=("head",))
    table = mean_over(contrast, scale="log").squeeze(drop=True).transpose("step", "layer")
    return {
        "step": [int(each) for each in table["step"].values],
        "layer": [int(each) for each in table["layer"].values],
        "recorded_films": attention.sizes["prompt"],
        "contrast": np.round(table.values, 5).tolist(),
    }


def summarise(experiment: Experiment) -> Row:
    """The contrast of attention by training step: over all layers and of each, with intervals over runs."""
    runs = experiment.rows
    coords = {"step": runs[0]["step"], "layer": runs[0]["layer"]}
    contrast = xr.DataArray([run["contrast"] for run in runs], coords, dims=("run", "step", "layer"))
    whole, by_layer = (mean_over(contrast, dim, scale="log") for dim in ("layer", "run"))
    rows = [
        {
            "step": step,
            "contrast": geometric_mean(whole.sel(step=step)),
            "since_step_0": geometric_mean(whole.sel(step=step) / whole.sel(step=0)),
            "strongest_layer": int(by_layer.sel(step=step).idxmax("layer")),
            "by_layer": {
                str(layer): round(float(by_layer.sel(step=step, layer=layer)), 4) for layer in coords["layer"]
            },
        }
        for step in coords["step"]
    ]
    experiment.draw("contrast", rows, "contrast", along="step", is_share=False)
    return {"steps": rows}


def geometric_mean(values: xr.DataArray) -> Row:
    """A geometric mean over runs with its 95 % interval (Student's, of logarithms); no ends below three runs."""
    value = float(mean_over(values, "run", scale="log"))
    return {"value": value, **ends_of(interval(values, "run", scale="log")), "n": int(values.notnull().sum())}


if __name__ == "__main__":
    conduct(__file__, __doc__, make, summarise)
