"""At which step can the final cuts be read? Attention is watched while a film is made, and held against the film.

    python experiments/boundaries_early/run.py --out runs/boundaries_early
    python experiments/boundaries_early/run.py --quick
    python experiments/boundaries_early/run.py --model owner/name --out runs/boundaries_early_large

No mask: films cut where their caption and the model want. Films that are in the log are skipped: it can be killed and
repeated.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from summary import summarise

import attnscope as scope
from attnscope.dataset import Scene, sample_scene
from attnscope.metrics import detect_cuts
from attnscope.structure import boundaries, boundary_error, mean_map, with_cuts

HERE = Path(__file__).parent
HELD_OUT_SEED = 35_000_000
QUICK = {"num_captions": 4, "num_inference_steps": 4, "num_folds": 2, "num_frames": 25}

Config = dict[str, Any]


def read_config(*, quick: bool, model: str | None) -> Config:
    """The settings of the run, those of the file unless told otherwise."""
    config = tomllib.loads((HERE / "config.toml").read_text(encoding="utf-8"))
    if model is not None:
        config["model"]["base"] = model
    for table in config.values() if quick else ():
        table.update({name: value for name, value in QUICK.items() if name in table})
    return config


def held_out(number: int, config: Config) -> Scene:
    """The film that a caption is of; the model has not seen it."""
    films = config["films"]
    return sample_scene(
        HELD_OUT_SEED + number,
        num_shots=films["shots"][number % len(films["shots"])],
        num_frames=films["num_frames"],
        world=films["world"],
    )


def watch(pipe: Any, film: Scene, seed: int, config: Config) -> dict[str, Any]:
    """Make one film, find its cuts in the pictures, and look for them in the attention of each step and layer."""
    reading, seen = config["reading"], []
    attention = scope.probe(
        pipe,
        film.caption("exact"),
        shots=film.plan,
        branch=reading["branch"],
        seed=seed,
        on_video=lambda run, frames: seen.append(np.asarray(frames)),
        progress=False,
        **config["sampling"],
    )
    frames = seen[0] if seen[0].dtype == np.uint8 else np.round(255 * np.clip(seen[0], 0, 1)).astype(np.uint8)
    found = detect_cuts(frames, film.plan.fps, detector="span", shortest_shot_s=0).cuts_frame
    line = {
        "asked_frame": list(film.plan.to_latent().realised_frame),
        "found_frame": list(found),
        "places": attention.sizes["query_frame"] - 1,
        "sigma": [float(each) for each in np.ravel(attention["sigma"].values)],
        "layer": [int(each) for each in attention["layer"].values],
    }
    if not found:
        return {**line, "cuts": [], "recall": None}
    maps = mean_map(with_cuts(attention, [found]), ("head",))
    places = boundaries(maps, num="known", kernel=reading["kernel"])
    recall = boundary_error(places, maps, tolerance_frame=reading["tolerance_latent"])["recall"]
    table = recall.squeeze(drop=True).transpose("step", "layer").values
    shots = np.ravel(maps["query_shot"].values)
    return {
        **line,
        "cuts": (1 + np.flatnonzero(np.diff(shots))).tolist(),
        "recall": np.round(table, 4).tolist(),
    }


def make_all(pipe: Any, config: Config, log: Path) -> None:
    """Make the films that are not in the log."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    there = {(line["caption"], line["seed"]) for line in lines}
    for number, seed in product(range(config["films"]["num_captions"]), range(config["films"]["seeds"])):
        if (number, seed) in there:
            continue
        line = {"caption": number, "seed": seed, **watch(pipe, held_out(number, config), seed, config)}
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(
            f"caption {number} seed {seed}: asked {line['asked_frame']}, found {line['found_frame']}",
            flush=True,
        )


def main() -> None:
    """Read the command line, make the films, write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="another base: a folder, or owner/name on the hub")
    parser.add_argument("--out", type=Path, default=Path("runs/boundaries_early"))
    parser.add_argument("--results", type=Path, help="where the table goes; beside the films by default")
    parser.add_argument("--quick", action="store_true", help="four films of a few steps, to see that it runs")
    given = parser.parse_args()
    config = read_config(quick=given.quick, model=given.model)
    out = given.out / "quick" if given.quick else given.out
    out.mkdir(parents=True, exist_ok=True)
    log = out / "films.jsonl"
    pipe: Any = scope.load(config["model"]["base"])
    pipe.set_progress_bar_config(disable=True)
    make_all(pipe, config, log)
    summarise(log, given.results or out / "results.json", config)


if __name__ == "__main__":
    main()
