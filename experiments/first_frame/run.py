"""Does a first frame that all shots may see calm the film? Flicker within shots, with it, without it, unmasked.

python experiments/first_frame/run.py
python experiments/first_frame/run.py --quick
python experiments/first_frame/run.py --model owner/name --out runs/first_frame_large

Films that are there are not made again: it can be killed and repeated.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import numpy as np
from conducting import Experiment, Row, conduct
from measuring import by_condition, compare_cuts, mean, recall_and_precision

import attnscope as scope
from attnscope import masks

HIDDEN, VISIBLE = "first frame hidden", "first frame visible"
CONDITIONS = ("none", HIDDEN, VISIBLE)


def rule_of(condition: str, plan: scope.ShotPlan, layers: Sequence[int]) -> Any:
    """CineTrans' mask with the first frame visible, as published, or hidden; or none."""
    if condition == "none":
        return None
    return masks.preset("cinetrans-dit", plan, first_frame=condition == VISIBLE, layers=layers)


def flicker(film: scope.Film, settled_frames: int) -> float:
    """Mean difference of neighbouring frames within the shots that were asked for, in levels of 255."""
    steps = np.abs(np.diff(film.frames.astype(float), axis=0)).mean(axis=(1, 2, 3))
    within = np.ones(len(steps), bool)
    for cut in film.cuts.asked_frame:
        within[cut - 1 : cut + settled_frames] = False
    return float(steps[within].mean())


def make(experiment: Experiment) -> None:
    """Make every film three times from the same noise."""
    model, config = experiment.load_model(), experiment.config
    for condition, number, seed in experiment.missing(CONDITIONS):
        plan = model.plan_one_cut(number)
        prompt = model.invent(config["films"]["first_seed"] + number, 1).caption("none")
        rule = rule_of(condition, plan, model.layers)
        film = model.make(prompt, plan, rule=rule, seed=seed, **config["sampling"])
        seen = flicker(film, **config["flicker"])
        experiment.add(condition, number, seed, **compare_cuts(film.cuts), flicker=seen)


def summarise(experiment: Experiment) -> Row:
    """Flicker within shots of each condition, what the visible first frame changes, and cuts in place."""
    rows = by_condition(experiment.rows, measure)
    experiment.draw("flicker", rows, "flicker", is_share=False)
    changes = [compare(experiment.rows, HIDDEN, VISIBLE), compare(experiment.rows, "none", HIDDEN)]
    return {"conditions": rows, "changes": changes}


def measure(rows: Sequence[Row]) -> Row:
    """One condition."""
    return {**recall_and_precision(rows), "flicker": mean([row["flicker"] for row in rows])}


def compare(rows: Sequence[Row], before: str, after: str) -> Row:
    """Flicker of the same captions and noise under two conditions: the mean difference, film by film."""
    of = {(row["condition"], row["caption"], row["seed"]): row["flicker"] for row in rows}
    films = sorted({key[1:] for key in of})
    pairs = [(of.get((before, *film)), of.get((after, *film))) for film in films]
    change = mean([there - here for here, there in pairs if here is not None and there is not None])
    return {"before": before, "after": after, "flicker": change}


if __name__ == "__main__":
    conduct(__file__, __doc__, make, summarise)
