"""Mask x tuning: films of a base that does not cut, and of the same base fine-tuned on films with cuts.

    python experiments/tuning_ablation/run.py --out runs/tuning_ablation
    python experiments/tuning_ablation/run.py --quick
    python experiments/tuning_ablation/run.py --model owner/name --out runs/tuning_large

Training goes on from its last checkpoint and films that are there are skipped: it can be killed and repeated. The tuned
model of the row without a mask was trained without one, that of the row with it under it; everything else is the same.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from itertools import product
from pathlib import Path
from typing import Any

from summary import summarise

import attnscope as scope
from attnscope.dataset import Scene, sample_scene
from attnscope.training.clips import DrawnFilms

HERE = Path(__file__).parent
HELD_OUT_SEED = 30_000_000
QUICK = {"steps": 6, "num_captions": 2, "seeds": 1, "num_inference_steps": 3, "num_clips": 4}

Config = dict[str, Any]


def read_config(*, quick: bool, model: str | None) -> Config:
    """The settings of the run, those of the file unless told otherwise."""
    config = tomllib.loads((HERE / "config.toml").read_text(encoding="utf-8"))
    if model is not None:
        config["model"]["base"] = model
    for table in config.values() if quick else ():
        table.update({name: value for name, value in QUICK.items() if name in table})
    return config


def load(config: Config) -> Any:
    """The base model."""
    pipe: Any = scope.load(config["model"]["base"])
    pipe.set_progress_bar_config(disable=True)
    return pipe


def tuned(config: Config, out: Path, *, mask: bool) -> Any:
    """The base with adapters that were trained with or without the mask."""
    films = config["films"]
    pipe = load(config)
    scope.finetune(
        pipe,
        DrawnFilms(
            films["num_clips"],
            tuple(films["shots"]),
            num_frames=films["num_frames"],
            first_seed=films["first_seed"],
            options={"world": films["world"]},
        ),
        out=out / ("trained-masked" if mask else "trained"),
        cache=out / "cache",
        rule=config["sampling"]["preset"] if mask else None,
        routed=1.0 if mask else 0.0,
        num_frames=films["num_frames"],
        on_step=lambda done, total: print(f"mask {mask}: step {done} of {total}", flush=True),
        **config["recipe"],
    )
    return pipe


def held_out(number: int, config: Config) -> Scene:
    """The film that a caption is of; the model has not seen it."""
    films = config["films"]
    shots = films["shots"][number % len(films["shots"])]
    return sample_scene(
        HELD_OUT_SEED + number, num_shots=shots, num_frames=films["num_frames"], world=films["world"]
    )


def make(pipe: Any, number: int, seed: int, config: Config, *, mask: bool) -> dict[str, Any]:
    """Make one film; with the mask each shot reads its own caption, without it all frames read one for all."""
    film, sampling = held_out(number, config), config["sampling"]
    made = scope.generate(
        pipe,
        film.general_caption() if mask else film.caption("none"),
        shots=film.plan,
        rule=scope.masks.preset(sampling["preset"], film.plan) if mask else None,
        captions=film.shot_captions() if mask else None,
        seed=seed,
        num_inference_steps=sampling["num_inference_steps"],
        guidance_scale=sampling["guidance_scale"],
    )
    return {
        "asked_frame": list(made.cuts.asked_frame),
        "found_frame": list(made.cuts.found_frame),
        "matched": made.cuts.num_matched,
        "transition_control": made.cuts.transition_control,
    }


def fill(pipe: Any, config: Config, log: Path, *, mask: bool, tuning: bool) -> None:
    """Make the films of one cell that are not there."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    there = {(line["mask"], line["tuning"], line["caption"], line["seed"]) for line in lines}
    sampling = config["sampling"]
    for number, seed in product(range(sampling["num_captions"]), range(sampling["seeds"])):
        if (mask, tuning, number, seed) in there:
            continue
        found = make(pipe, number, seed, config, mask=mask)
        line = {"mask": mask, "tuning": tuning, "caption": number, "seed": seed, **found}
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)


def main() -> None:
    """Read the command line, fill the four cells, write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="another base: a folder, or owner/name on the hub")
    parser.add_argument("--out", type=Path, default=Path("runs/tuning_ablation"))
    parser.add_argument("--results", type=Path, help="where the table goes; beside the films by default")
    parser.add_argument("--quick", action="store_true", help="a few films and steps, to see that it runs")
    given = parser.parse_args()
    config = read_config(quick=given.quick, model=given.model)
    out = given.out / "quick" if given.quick else given.out
    out.mkdir(parents=True, exist_ok=True)
    log = out / "films.jsonl"
    base = load(config)
    for mask in (False, True):
        fill(base, config, log, mask=mask, tuning=False)
    for mask in (False, True):
        fill(tuned(config, out, mask=mask), config, log, mask=mask, tuning=True)
    summarise(log, given.results or out / "results.json", config)


if __name__ == "__main__":
    main()
