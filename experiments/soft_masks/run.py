"""How soft may the mask be? Recall of cuts and likeness of shots by dose, by annealing, and by fading at the boundary.

    python experiments/soft_masks/run.py --out runs/soft_masks
    python experiments/soft_masks/run.py --quick
    python experiments/soft_masks/run.py --model owner/name --out runs/soft_masks_large

Films that are in the log are skipped: it can be killed and repeated.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from summary import summarise

import attnscope as scope
from attnscope import masks
from attnscope.dataset import sample_scene
from attnscope.metrics import between_shots, find_encoder

HERE = Path(__file__).parent
HELD_OUT_SEED = 33_000_000
QUICK = {"num_captions": 1, "seeds": 1, "num_inference_steps": 2, "num_latent": 7}

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


def rules(plan: scope.ShotPlan, config: Config) -> dict[str, masks.MaskRule | None]:
    """All conditions by name: from no mask over soft ones to the hard one."""
    hard, asked = masks.same_shot(plan), config["masks"]
    return {
        "none": None,
        **{f"dose {dose:g}": hard.soft(dose) for dose in asked["dose"]},
        **{
            f"ramp {noise:g} to {clean:g}": hard.soft(masks.Ramp(noise, clean))
            for noise, clean in asked["ramps"]
        },
        **{f"fade {reach}": masks.fade(plan, reach) for reach in asked["fades"]},
        "hard": hard,
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


def likeness(frames: Frames, cuts_frame: tuple[int, ...], config: Config) -> float:
    """How alike neighbouring shots are, at the cuts that were asked for, whether they are there or not."""
    encoder = find_encoder("visual")
    if not hasattr(encoder, "encode"):
        raise SystemExit(f"no encoder: {encoder.reason}")
    settled, num = config["likeness"]["settled_frames"], config["likeness"]["places"]
    shots = []
    for start, stop in pairwise((0, *cuts_frame, len(frames))):
        first = min(start + settled, stop - 1) if start else 0
        shots.append(encoder.encode(frames[np.unique(np.linspace(first, stop - 1, num).astype(int))]))
    return float(between_shots(shots)["adjacent"])


def make_all(pipe: Any, config: Config, log: Path) -> None:
    """Make the films that are not in the log, all conditions of a caption before the next one."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    there = {(line["condition"], line["caption"], line["seed"]) for line in lines}
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
                layers=None if rule is None else config["masks"]["layers"],
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
                "likeness": likeness(made.frames, made.cuts.asked_frame, config),
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
    parser.add_argument("--out", type=Path, default=Path("runs/soft_masks"))
    parser.add_argument("--results", type=Path, help="where the table goes; beside the films by default")
    parser.add_argument("--quick", action="store_true", help="a film of each strength, to see that it runs")
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
