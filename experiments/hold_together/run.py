"""Can attention forbid cuts? Films that cut by themselves, and the same films with their one shot held together.

    python experiments/hold_together/run.py
    python experiments/hold_together/run.py --quick
    python experiments/hold_together/run.py --model owner/name --out runs/hold_together_large

Prompts are captions of films with two and three shots, so the model cuts without being told where. `held-together`
counts every other frame of the film `factor` times, in all layers. The factor is chosen on prompts of its own and
reported on others. Films that are there are not made again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import numpy as np
from conducting import Experiment, Row, SizedModel, conduct
from measuring import by_condition, mean, share
from scipy.stats import binomtest

import attnscope as scope
from attnscope import masks

FREE = 1.0
DETECTORS = ("span", "transnetv2")


def name_of(factor: float) -> str:
    """What a condition is called."""
    return "as it is" if factor == FREE else f"factor {factor:g}"


def film(model: SizedModel, prompt: str, factor: float, **options: object) -> np.ndarray:
    """One film of one shot, held together unless the factor is 1."""
    plan = scope.ShotPlan.from_frames([], num_frames=model.num_frames, fps=model.fps)
    if factor != FREE:
        options["rule"] = masks.preset("held-together", plan, factor=factor)
    return model.make(prompt, plan, **options).frames


def look(frames: np.ndarray, model: SizedModel) -> Row:
    """How many cuts each detector finds, and how much the film moves and changes from end to end."""
    values = frames.astype(np.float64) / 255
    return {
        **{
            name: len(
                scope.metrics.detect_cuts(
                    frames, model.fps, detector=name, shortest_shot_s=0, stride=model.stride
                ).cuts_frame
            )
            for name in DETECTORS
        },
        "motion": float(np.sqrt(((values[1:] - values[:-1]) ** 2).mean(axis=(1, 2, 3))).mean()),
        "ends_apart": float(np.sqrt(((values[-1] - values[0]) ** 2).mean())),
    }


def make(experiment: Experiment) -> None:
    """Make the films to choose the factor on, then those that are reported."""
    factors, films = experiment.config["factors"], experiment.config["films"]
    fill(experiment, [FREE, *factors], range(experiment.config["choosing"]["num_films"]))
    fill(experiment, [FREE, choose(experiment)], reported(experiment, films["num_captions"]))


def reported(experiment: Experiment, num: int) -> range:
    """The numbers of the films that nothing is chosen on."""
    first = experiment.config["choosing"]["first_reported"]
    return range(first, first + num)


def fill(experiment: Experiment, factors: Sequence[float], captions: range) -> None:
    """Make and measure the films that are not there."""
    model, of = experiment.load_model(), {name_of(factor): factor for factor in factors}
    for condition, number, seed in experiment.missing(list(of), captions):
        prompt = experiment.invent(model, number).caption("none")
        frames = film(model, prompt, of[condition], seed=seed, **experiment.config["sampling"])
        experiment.add(condition, number, seed, **look(frames, model))


def split(experiment: Experiment) -> tuple[list[Row], list[Row]]:
    """The rows to choose on, and those that are reported."""
    first = experiment.config["choosing"]["first_reported"]
    rows = experiment.rows
    return [row for row in rows if row["caption"] < first], [row for row in rows if row["caption"] >= first]


def choose(experiment: Experiment) -> float:
    """The least factor that leaves the fewest films with a cut (`span`), on the films for choosing alone."""
    rows, _ = split(experiment)
    cut = {
        factor: float(np.mean([row["span"] > 0 for row in rows if row["condition"] == name_of(factor)]))
        for factor in experiment.config["factors"]
    }
    return min(cut, key=lambda factor: (cut[factor], factor))


def summarise(experiment: Experiment) -> Row:
    """Films with cuts as they are and held together, of the films that nothing was chosen on."""
    _, rows = split(experiment)
    cells, factor = by_condition(rows, measure), choose(experiment)
    experiment.draw("films_with_cuts", cells, "span", label="films with a cut")
    return {
        "cells": cells,
        "chosen_factor": factor,
        "paired": [compare(rows, factor, each) for each in DETECTORS],
    }


def measure(rows: Sequence[Row]) -> Row:
    """One condition."""
    cut = {name: share(rows, [int(row[name] > 0) for row in rows], [1] * len(rows)) for name in DETECTORS}
    return {**cut, **{name: mean([row[name] for row in rows]) for name in ("motion", "ends_apart")}}


def compare(rows: Sequence[Row], factor: float, detector: str) -> Row:
    """Films that lost their cuts and films that won some, and the sign test on both."""
    free, held = (
        {
            (row["caption"], row["seed"]): row[detector] > 0
            for row in rows
            if row["condition"] == name_of(each)
        }
        for each in (FREE, factor)
    )
    lost, won = (sum(one[film] > other[film] for film in held) for one, other in ((free, held), (held, free)))
    p = float(binomtest(lost, lost + won).pvalue) if lost + won else 1.0
    return {"detector": detector, "lost": lost, "won": won, "p": p}


if __name__ == "__main__":
    conduct(__file__, __doc__, make, summarise)
