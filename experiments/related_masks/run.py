"""All published masks side by side: the same captions, the same noise, one film a preset.

    python experiments/related_masks/run.py
    python experiments/related_masks/run.py --quick
    python experiments/related_masks/run.py --model owner/name --out runs/related_masks_large

Films that are there are not made again: it can be killed and repeated.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import numpy as np
from conducting import Experiment, Row, SizedModel, conduct
from measuring import by_condition, compare_cuts, likeness, mean, recall_and_precision
from numpy.typing import NDArray

import attnscope as scope
from attnscope import masks
from attnscope.dataset import Scene

PLAIN = "own captions"
CONTROLS = ("one caption", PLAIN)
"""No mask: all frames reading one caption for all shots, and each shot reading its own, as under every preset."""


def options_of(preset: str, model: SizedModel, num_steps: int) -> Row:
    """Where a preset acts, if not in the layers and steps that it was published for, which this run may lack."""
    if preset.startswith("cinetrans"):
        return {"layers": model.layers}
    return {"steps": f"0-{min(num_steps, 13) - 1}"} if preset == "vstar" else {}


def film_of(model: SizedModel, condition: str, scene: Scene, seed: int, sampling: Row) -> scope.Film:
    """One film of a condition."""
    options: dict[str, Any] = {"seed": seed, **sampling}
    if condition == "one caption" or not model.routes_captions:
        prompt = scene.caption("none")
    else:
        prompt, options["captions"] = scene.general_caption(), scene.shot_captions()
    if condition not in CONTROLS:
        where = options_of(condition, model, sampling["num_inference_steps"])
        options["rule"] = masks.preset(condition, scene.plan, **where)
    return model.make(prompt, scene.plan, **options)


def rms(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Root mean square difference of two pictures, in brightness from 0 to 1."""
    return float(np.sqrt(((one.astype(float) - other) ** 2).mean()) / 255)


def make(experiment: Experiment) -> None:
    """Make every film under every preset, and hold its first frame against that of the film without one."""
    model, config = experiment.load_model(), experiment.config
    plain: dict[tuple[int, int], scope.Film] = {}
    for condition, number, seed in experiment.missing([*CONTROLS, *masks.list_presets()]):
        scene = experiment.invent(model, number)
        if (number, seed) not in plain:
            plain = {(number, seed): film_of(model, PLAIN, scene, seed, config["sampling"])}
        reference = plain[number, seed]
        is_plain = condition == PLAIN
        film = reference if is_plain else film_of(model, condition, scene, seed, config["sampling"])
        experiment.add(
            condition,
            number,
            seed,
            **compare_cuts(film.cuts),
            likeness=likeness(film, **config["likeness"]),
            first_frame_change=None if is_plain else rms(film.frames[0], reference.frames[0]),
            layers=len(film.layers),
            visible_fraction=film.visible_fraction,
        )


def summarise(experiment: Experiment) -> Row:
    """Cuts in place, likeness of shots and change of the first frame of each condition."""
    rows = by_condition(experiment.rows, measure)
    for name in ("recall", "precision", "likeness", "first_frame_change"):
        experiment.draw(name, rows, name, is_share=name != "first_frame_change")
    return {"conditions": rows}


def measure(rows: Sequence[Row]) -> Row:
    """One condition."""
    means = {name: mean([row[name] for row in rows]) for name in ("likeness", "first_frame_change")}
    return {**recall_and_precision(rows), **means}


if __name__ == "__main__":
    conduct(__file__, __doc__, make, summarise)
