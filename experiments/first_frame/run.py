"""Does a first frame that all shots may see calm the film? Flicker within shots, with it, without it, unmasked.

    python experiments/first_frame/run.py --out runs/first_frame
    python experiments/first_frame/run.py --quick
    python experiments/first_frame/run.py --model owner/name --out runs/first_frame_large

Films that are in the log are skipped: it can be killed and repeated.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from summary import summarise

import attnscope as scope
from attnscope import masks
from attnscope.dataset import sample_scene

HERE = Path(__file__).parent
HELD_OUT_SEED = 34_000_000
QUICK = {"num_captions": 3, "seeds": 1, "num_inference_steps": 2, "num_latent": 7}

Config = dict[str, Any]
Frames = NDArray[np.uint8]


def read_config(*, quick: bool, model: str | None) -> Config:
    """The settings of the run, those of the file unless told otherwise."""
    config = tomllib.loads((HERE / "config.toml").read_text(encoding="utf-8"))
    if model is not None:
        config["model"]["base"] = model
    for table in config.values() if quick else ():
        table.update({name: value for name, value in QUICK.items() if name in table})
    return config


def rules(plan: scope.ShotPlan, config: Config) -> dict[str, Any]:
    """The preset with the first frame visible and hidden, and no mask."""
    name = config["masks"]["preset"]
    return {
        "none": None,
        "first frame hidden": masks.preset(name, plan, first_frame=False),
        "first frame visible": masks.preset(name, plan, first_frame=True),
    }


def plan_of(number: int, config: Config) -> scope.ShotPlan:
    """Two shots of two latent frames or more; the cut walks over the grid."""
    films = config["films"]
    places = range(2, films["num_latent"] - 1)
    cut = places[number % len(places)]
    return scope.ShotPlan.from_latent_frames([cut], num_frames_latent=films["num_latent"], fps=films["fps"])


def prompt_of(number: int, config: Config) -> str:
    """The caption of a held-out film of one shot."""
    return sample_scene(HELD_OUT_SEED + number, num_shots=1, world=config["films"]["world"]).caption("none")


def flicker(frames: Frames, cuts_frame: tuple[int, ...], settled_frames: int) -> float:
    """Mean difference of neighbouring frames within the shots that were asked for, in brightness from 0 to 1."""
    steps = np.abs(np.diff(frames.astype(float), axis=0)).mean(axis=(1, 2, 3)) / 255
    within = np.ones(len(steps), bool)
    for cut in cuts_frame:
        within[cut - 1 : cut + settled_frames] = False
    return float(steps[within].mean())


def make_all(pipe: Any, config: Config, log: Path) -> None:
    """Make the films that are not in the log, all conditions of a caption before the next one."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    there = {(line["condition"], line["caption"], line["seed"]) for line in lines}
    settled_frames = config["flicker"]["settled_frames"]
    for number, seed in product(range(config["films"]["num_captions"]), range(config["films"]["seeds"])):
        plan = plan_of(number, config)
        for condition, rule in rules(plan, config).items():
            if (condition, number, seed) in there:
                continue
            made = scope.generate(
                pipe,
                prompt_of(number, config),
                shots=plan,
                rule=rule,
                seed=seed,
                **config["sampling"],
            )
            line = {
                "condition": condition,
                "caption": number,
                "seed": seed,
                "asked_frame": list(made.cuts.asked_frame),
                "found_frame": list(made.cuts.found_frame),
                "matched": made.cuts.num_matched,
                "flicker": flicker(made.frames, made.cuts.asked_frame, settled_frames),
            }
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)


def main() -> None:
    """Read the command line, make the films, write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="another base: a folder, or owner/name on the hub")
    parser.add_argument("--out", type=Path, default=Path("runs/first_frame"))
    parser.add_argument("--results", type=Path, help="where the table goes; beside the films by default")
    parser.add_argument("--quick", action="store_true", help="three films of each, to see that it runs")
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
