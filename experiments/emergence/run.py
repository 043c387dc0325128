"""When does block structure come? A base that does not cut is tuned on films with cuts, its attention on record.

    python experiments/emergence/run.py --out runs/emergence
    python experiments/emergence/run.py --quick
    python experiments/emergence/run.py --model owner/name --out runs/emergence_large

No mask, and one caption for all shots. Training goes on from its last checkpoint and runs that are in the log are
skipped: it can be killed and repeated.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from summary import summarise

import attnscope as scope
from attnscope.structure import adjusted_contrast, mean_over
from attnscope.training.clips import DrawnFilms

HERE = Path(__file__).parent
QUICK = {"steps": 4, "seeds": 1, "num_clips": 4, "record_every": 2, "batch_size": 1, "num_frames": 25}

Config = dict[str, Any]


def read_config(*, quick: bool, model: str | None) -> Config:
    """The settings of the run, those of the file unless told otherwise."""
    config = tomllib.loads((HERE / "config.toml").read_text(encoding="utf-8"))
    if model is not None:
        config["model"]["base"] = model
    for table in config.values() if quick else ():
        table.update({name: value for name, value in QUICK.items() if name in table})
    return config


def train(seed: int, config: Config, out: Path) -> Path:
    """Tune the base on films of this run's own; returns where its attention is recorded."""
    films = config["films"]
    pipe: Any = scope.load(config["model"]["base"])
    pipe.set_progress_bar_config(disable=True)
    scope.finetune(
        pipe,
        DrawnFilms(
            films["num_clips"],
            tuple(films["shots"]),
            num_frames=films["num_frames"],
            first_seed=films["first_seed"] + seed * films["num_clips"],
            options={"world": films["world"]},
        ),
        out=out,
        num_frames=films["num_frames"],
        seed=seed,
        on_step=lambda done, total: print(f"run {seed}: step {done} of {total}", flush=True),
        **config["recipe"],
    )
    return out / "attention.zarr"


def measure(store: Path) -> dict[str, Any]:
    """How many times more a frame looks into its own shot, by training step and layer, over the recorded films."""
    attention = scope.open_store(store)
    contrast = adjusted_contrast(attention, over=("head",))
    table = mean_over(contrast, scale="log").squeeze(drop=True).transpose("step", "layer")
    return {
        "step": [int(each) for each in table["step"].values],
        "layer": [int(each) for each in table["layer"].values],
        "films": attention.sizes["prompt"],
        "contrast": np.round(table.values, 5).tolist(),
    }


def main() -> None:
    """Read the command line, train, write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="another base: a folder, or owner/name on the hub")
    parser.add_argument("--out", type=Path, default=Path("runs/emergence"))
    parser.add_argument("--results", type=Path, help="where the table goes; beside the runs by default")
    parser.add_argument("--quick", action="store_true", help="one run of a few steps, to see that it runs")
    given = parser.parse_args()
    config = read_config(quick=given.quick, model=given.model)
    out = given.out / "quick" if given.quick else given.out
    out.mkdir(parents=True, exist_ok=True)
    log = out / "runs.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    there = {line["seed"] for line in lines}
    for seed in range(config["runs"]["seeds"]):
        if seed in there:
            continue
        line = {"seed": seed, **measure(train(seed, config, out / f"run-{seed}"))}
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    summarise(log, given.results or out / "results.json", config)


if __name__ == "__main__":
    main()
