"""All published masks side by side: the same captions, the same noise, one film a preset.

    python experiments/related_masks/run.py --out runs/related_masks
    python experiments/related_masks/run.py --quick
    python experiments/related_masks/run.py --model owner/name --out runs/related_masks_large

Films that are in the log are skipped: it can be killed and repeated.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from summary import summarise

import attnscope as scope
from attnscope import masks
from attnscope.dataset import Scene, sample_scene
from attnscope.metrics import between_shots, find_encoder

HERE = Path(__file__).parent
HELD_OUT_SEED = 32_000_000
CONTROLS = ("one caption", "own captions")
"""No mask: all frames reading one caption for all shots, and each shot reading its own, as under every preset."""
QUICK = {"num_captions": 1, "seeds": 1, "num_inference_steps": 2, "num_frames": 25}

Config = dict[str, Any]
Frames = NDArray[np.uint8]


def read_config(*, quick: bool, model: str | None) -> Config:
    """The settings of the run, those of the file unless told otherwise."""
    config = tomllib.loads((HERE / "config.toml").read_text(encoding="utf-8"))
    if model is not None:
        config["model"]["base"] = model
    for table in config.values() if quick else ():
        table.update({name: value for name, value in QUICK.items() if name in table})
    if quick:
        config["presets"]["vstar"] = {"steps": "all"}  # it was published for the first 13 steps
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


def film_of(pipe: Any, condition: str, film: Scene, seed: int, config: Config) -> scope.Film:
    """One film of a condition."""
    options: dict[str, Any] = {"seed": seed, **config["sampling"]}
    if condition == "one caption":
        return scope.generate(pipe, film.caption("none"), shots=film.plan, **options)
    if condition != "own captions":
        options["rule"] = masks.preset(condition, film.plan, **config["presets"].get(condition, {}))
    return scope.generate(
        pipe, film.general_caption(), shots=film.plan, captions=film.shot_captions(), **options
    )


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


def rms(one: Frames, other: Frames) -> float:
    """Root mean square difference of two pictures, in brightness from 0 to 1."""
    return float(np.sqrt(((one.astype(float) - other) ** 2).mean()) / 255)


def make_all(pipe: Any, config: Config, log: Path) -> None:
    """Make the films that are not in the log, all conditions of a caption before the next one."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    there = {(line["condition"], line["caption"], line["seed"]) for line in lines}
    conditions = (*CONTROLS, *masks.list_presets())
    for number in range(config["films"]["num_captions"]):
        film = held_out(number, config)
        for seed in range(config["films"]["seeds"]):
            missing = [each for each in conditions if (each, number, seed) not in there]
            plain = film_of(pipe, "own captions", film, seed, config) if missing else None
            for condition in missing:
                is_plain = condition == "own captions"
                made = plain if is_plain else film_of(pipe, condition, film, seed, config)
                line = {
                    "condition": condition,
                    "caption": number,
                    "seed": seed,
                    "asked_frame": list(made.cuts.asked_frame),
                    "found_frame": list(made.cuts.found_frame),
                    "matched": made.cuts.num_matched,
                    "likeness": likeness(made.frames, made.cuts.asked_frame, config),
                    "first_frame_change": None if is_plain else rms(made.frames[0], plain.frames[0]),
                    "layers": len(made.layers),
                    "visible_fraction": made.visible_fraction,
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
    parser.add_argument("--out", type=Path, default=Path("runs/related_masks"))
    parser.add_argument("--results", type=Path, help="where the table goes; beside the films by default")
    parser.add_argument("--quick", action="store_true", help="a film of each preset, to see that it runs")
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
