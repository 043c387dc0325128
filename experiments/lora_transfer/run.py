"""A character that was learned from single shots, in films of several: LoRA on one-shot films, then the mask.

    python experiments/lora_transfer/run.py --out runs/lora_transfer
    python experiments/lora_transfer/run.py --quick
    python experiments/lora_transfer/run.py --model owner/name --out runs/lora_transfer_large

Training goes on from its last checkpoint and films that are there are skipped: it can be killed and repeated. No
caption, neither of training nor of the films that are made, says what the character is: it can only come from the LoRA.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from itertools import product
from pathlib import Path
from typing import Any

from character import SETTLED_FRAME, read_shot, with_character
from summary import summarise

import attnscope as scope
from attnscope.dataset import Scene, Subject, render
from attnscope.training.clips import Clip

HERE = Path(__file__).parent
HELD_OUT_SEED = 31_000_000
CONDITIONS = {"base + mask": (False, True), "tuned": (True, False), "tuned + mask": (True, True)}
"""Whether the model was tuned, and whether the mask is on."""
QUICK = {
    "steps": 3,
    "num_captions": 2,
    "num_inference_steps": 2,
    "num_clips": 4,
    "batch_size": 1,
    "num_frames": 25,
}

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


def film_of(seed: int, num_shots: int, config: Config) -> Scene:
    """A drawn film of the character."""
    films = config["films"]
    subject = Subject(**config["character"])
    return with_character(
        seed, subject, num_shots=num_shots, num_frames=films["num_frames"], world=films["world"]
    )


def clips(config: Config) -> list[Clip]:
    """The films to train on, one shot each; their captions say the place and not who is in it."""
    films = config["films"]
    scenes = [film_of(films["first_seed"] + number, 1, config) for number in range(films["num_clips"])]
    return [
        Clip(f"film {number}", f"One shot: {scene.views[0].caption()}", (), "One shot", scene)
        for number, scene in enumerate(scenes)
    ]


def tuned(config: Config, out: Path) -> Any:
    """The base with adapters that have seen the character; trained without a mask, as there is no cut."""
    pipe = load(config)
    scope.finetune(
        pipe,
        clips(config),
        out=out / "trained",
        num_frames=config["films"]["num_frames"],
        on_step=lambda done, total: print(f"step {done} of {total}", flush=True),
        **config["recipe"],
    )
    return pipe


def read(frames: Any, film: Scene, config: Config) -> dict[str, Any]:
    """What is seen in each shot that was asked for; the first frames after a cut are left out."""
    starts = film.plan.to_latent().realised_frame
    edges = [0, *starts, film.plan.num_frames]
    said = []
    for view, start, stop in zip(film.views, edges, edges[1:], strict=False):
        first = start + SETTLED_FRAME if start else 0
        least = config["reading"]["least_share"]
        said.append(read_shot(frames[first:stop], view, film.world, least))
    return {"colours": [colour for colour, _ in said], "shapes": [shape for _, shape in said]}


def make(pipe: Any, film: Scene, seed: int, config: Config, *, mask: bool) -> dict[str, Any]:
    """Make one film, each shot reading its own caption, and read it."""
    sampling = config["sampling"]
    made = scope.generate(
        pipe,
        film.general_caption().split(":")[0],
        shots=film.plan,
        rule=scope.masks.preset(sampling["preset"], film.plan) if mask else None,
        captions=[view.caption() for view in film.views],
        seed=seed,
        num_inference_steps=sampling["num_inference_steps"],
        guidance_scale=sampling["guidance_scale"],
    )
    cuts = made.cuts
    return {
        "asked_frame": list(cuts.asked_frame),
        "found_frame": list(cuts.found_frame),
        "matched": cuts.num_matched,
        **read(made.frames, film, config),
    }


def fill(pipe: Any, config: Config, log: Path, condition: str) -> None:
    """Make the films of one condition that are not there; without a model, read the drawn films themselves."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    there = {(line["condition"], line["caption"], line["seed"]) for line in lines}
    sampling = config["sampling"]
    seeds = range(1 if pipe is None else sampling["seeds"])
    for number, seed in product(range(sampling["num_captions"]), seeds):
        if (condition, number, seed) in there:
            continue
        film = film_of(HELD_OUT_SEED + number, sampling["shots"][number % len(sampling["shots"])], config)
        if pipe is None:
            found = read(render(film), film, config)
        else:
            found = make(pipe, film, seed, config, mask=CONDITIONS[condition][1])
        line = {"condition": condition, "caption": number, "seed": seed, **found}
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)


def main() -> None:
    """Read the command line, make the films, write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="another base: a folder, or owner/name on the hub")
    parser.add_argument("--out", type=Path, default=Path("runs/lora_transfer"))
    parser.add_argument("--results", type=Path, help="where the table goes; beside the films by default")
    parser.add_argument("--quick", action="store_true", help="a few films and steps, to see that it runs")
    given = parser.parse_args()
    config = read_config(quick=given.quick, model=given.model)
    out = given.out / "quick" if given.quick else given.out
    out.mkdir(parents=True, exist_ok=True)
    log = out / "films.jsonl"
    fill(None, config, log, "drawn")
    fill(load(config), config, log, "base + mask")
    pipe = tuned(config, out)
    for condition in ("tuned", "tuned + mask"):
        fill(pipe, config, log, condition)
    summarise(log, given.results or out / "results.json", config)


if __name__ == "__main__":
    main()
