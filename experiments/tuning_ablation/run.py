"""Mask x tuning: films of a base that does not cut, and of the same base fine-tuned on films with cuts.

    python experiments/tuning_ablation/run.py
    python experiments/tuning_ablation/run.py --quick
    python experiments/tuning_ablation/run.py --model owner/name --out runs/tuning_large

`--config` takes the variants beside this file, each with an `--out` of its own. The tuned model of the row without a
mask was trained without one, that of the row with it under it; everything else is the same. Training goes on from its
last checkpoint, films that are there are not made again.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import numpy as np
import xarray as xr
from conducting import Experiment, Row, SizedModel, conduct
from measuring import by_condition, compare_cuts, ends_of, mean, recall_and_precision

from attnscope import masks
from attnscope.dataset import Scene
from attnscope.intervening.cut_check import check_cuts
from attnscope.structure import share_interval

CONDITIONS = {
    "neither": (False, False),
    "tuning": (False, True),
    "mask": (True, False),
    "mask and tuning": (True, True),
}
"""Whether the mask is on, and whether the model was tuned."""
PAPER = {"neither": 0.0, "tuning": 0.2398, "mask": 0.6168, "mask and tuning": 0.8598}
"""Transition control of CineTrans-UNet in the paper."""


def tune(experiment: Experiment, *, mask: bool) -> Path:
    """Train adapters with or without the mask; with it each shot reads its own caption, where it does in films."""
    model, masking = experiment.load_model(), experiment.config["masking"]
    clips = model.clips(**experiment.config["clips"])
    if not mask:
        return experiment.train("trained", model, clips, routed=0.0)
    unrouted = {} if masking["routed"] else {"routed": 0.0}
    layers = masking["layers"] or model.layers
    return experiment.train("trained-masked", model, clips, rule=model.preset, layers=layers, **unrouted)


def film(
    model: SizedModel, scene: Scene, *, mask: bool, routed: bool = True, layers: str = "", **options: Any
) -> Any:
    """Make one film; without the mask all frames read one caption for all shots."""
    if not mask:
        return model.make(scene.caption("none"), scene.plan, **options)
    rule = masks.preset(model.preset, scene.plan, layers=layers or model.layers)
    if not (routed and model.routes_captions):
        return model.make(scene.caption("none"), scene.plan, rule=rule, **options)
    captions = scene.shot_captions()
    return model.make(scene.general_caption(), scene.plan, rule=rule, captions=captions, **options)


def make(experiment: Experiment) -> None:
    """Train twice, then make each film four times from the same noise."""
    trained = {mask: tune(experiment, mask=mask) for mask in (False, True)}
    model, config = experiment.load_model(), experiment.config
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Already found a `peft_config`"
        )  # two adapters, one at a time
        for mask, folder in trained.items():
            model.pipe.load_lora_weights(folder, adapter_name=f"{mask}")
    for condition, number, seed in experiment.missing(list(CONDITIONS)):
        mask, tuning = CONDITIONS[condition]
        model.pipe.set_adapters([f"{mask}"], [float(tuning)])
        scene = experiment.invent(model, number)
        made = film(model, scene, mask=mask, seed=seed, **config["masking"], **config["sampling"])
        cuts = check_cuts(
            made.cuts.asked_frame, made.frames, config["counting"]["detector"], stride=model.stride
        )
        control = cuts.transition_control
        experiment.add(condition, number, seed, **compare_cuts(cuts), transition_control=control)


def summarise(experiment: Experiment) -> Row:
    """The four cells: transition control, recall and precision of cuts."""
    rows = by_condition(experiment.rows, measure)
    points = [{**row, "condition": f"{row['condition']} (paper {row['paper']:.2f})"} for row in rows]
    experiment.draw("transition_control", points, "transition_control")
    return {"cells": [flatten(row) for row in rows], "tuning_under_the_mask": compare(experiment.rows)}


def by_caption(rows: Sequence[Row], condition: str) -> dict[int, float]:
    """The mean transition control of each caption, over its seeds."""
    found: dict[int, list[float]] = {}
    for row in rows:
        if row["condition"] == condition:
            found.setdefault(row["caption"], []).append(row["transition_control"])
    return {caption: float(np.mean(values)) for caption, values in found.items()}


def compare(rows: Sequence[Row]) -> Row | None:
    """What tuning adds under the mask, caption by caption, from the same noise; none where a cell is not there."""
    before, after = (by_caption(rows, name) for name in ("mask", "mask and tuning"))
    gains = [after[caption] - before[caption] for caption in before if caption in after]
    more, less = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    return {**found, "more": more, "less": less} if (found := mean(gains)) else None


def measure(rows: Sequence[Row]) -> Row:
    """One cell; its interval is over captions, as the seeds of a caption are no films of their own."""
    control = xr.DataArray([*by_caption(rows, rows[0]["condition"]).values()], dims="prompt")
    ends = ends_of(share_interval(control, most_tries=len(rows) / control.size))
    return {
        "transition_control": {"value": float(control.mean()), **ends, "n": len(rows)},
        **recall_and_precision(rows),
        "captions": control.size,
        "paper": PAPER[rows[0]["condition"]],
    }


def flatten(row: Row) -> Row:
    """A cell with its number and interval side by side, and recall and precision as numbers."""
    mask, tuning = CONDITIONS[row["condition"]]
    control, recall, precision = row["transition_control"], row["recall"], row["precision"]
    return {
        "mask": mask,
        "tuning": tuning,
        "n": control["n"],
        "captions": row["captions"],
        "transition_control": control["value"],
        "low": control["low"],
        "high": control["high"],
        "recall": recall["value"],
        "precision": precision and precision["value"],
        "paper": row["paper"],
    }


if __name__ == "__main__":
    conduct(__file__, __doc__, make, summarise)
