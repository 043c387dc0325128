"""A character that was learned from single shots, in films of several: LoRA on one-shot films, then the mask.

    python experiments/lora_transfer/run.py
    python experiments/lora_transfer/run.py --quick
    python experiments/lora_transfer/run.py --model owner/name --out runs/lora_transfer_large

No caption, neither of training nor of the films that are made, says what the character is: it can only come from the
LoRA. Training goes on from its last checkpoint, films that are there are not made again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from character import SETTLED_FRAME, give_character, read_shot
from conducting import Experiment, Row, SizedModel, conduct
from measuring import by_condition, compare_cuts, recall_and_precision, share

from attnscope import masks
from attnscope.dataset import Scene, Subject, render
from attnscope.training.clips import Clip

DRAWN, TOLD = "drawn", "told + mask"
NUMBERS = ("One shot", "Two shots", "Three shots")
CONDITIONS = {
    TOLD: (False, True),
    "base + mask": (False, True),
    "tuned": (True, False),
    "tuned + mask": (True, True),
}
"""Whether the model was tuned, and whether the mask is on; told, the base reads who is in the film."""


def scene_of(experiment: Experiment, model: SizedModel, seed: int, num_shots: int) -> Scene:
    """A film of the character."""
    return give_character(seed, Subject(**experiment.config["character"]), model.invent, num_shots)


def clips(experiment: Experiment, model: SizedModel) -> list[Clip]:
    """The films to train on, one shot each; their captions say the place, and who is in it only as far as named."""
    asked, opening = experiment.config["clips"], opening_of(experiment, 1)
    scenes = [scene_of(experiment, model, asked["first_seed"] + number, 1) for number in range(asked["num"])]
    joined = ", " if experiment.config["captions"]["named"] else ": "
    return [
        Clip(f"film {number}", f"{opening}{joined}{scene.views[0].caption()}", (), opening, scene)
        for number, scene in enumerate(scenes)
    ]


def opening_of(experiment: Experiment, num_shots: int) -> str:
    """How a caption begins: how many shots, and what the character is called, if it is."""
    shots = NUMBERS[num_shots - 1]
    named = experiment.config["captions"]["named"]
    return f"{shots}: {named}" if named else shots


def read(frames: Any, scene: Scene, starts: Sequence[int], least_share: float) -> Row:
    """What is seen in each shot that was asked for; the first frames after a cut are left out."""
    said = []
    for view, (start, stop) in zip(scene.views, pairwise([0, *starts, len(frames)]), strict=True):
        first = min(start + SETTLED_FRAME, stop - 1) if start else 0
        said.append(read_shot(frames[first:stop], view, scene.world, least_share))
    return {"colours": [colour for colour, _ in said], "shapes": [shape for _, shape in said]}


def film(model: SizedModel, scene: Scene, general: str, *, mask: bool, **options: Any) -> Any:
    """Make one film; each shot reads its own caption, where the model can."""
    captions = [view.caption() for view in scene.views]
    if mask:
        options["rule"] = masks.preset(model.preset, scene.plan, layers=model.layers)
    if model.routes_captions:
        return model.make(general, scene.plan, captions=captions, **options)
    return model.make(f"{general}: {'; '.join(captions)}", scene.plan, **options)


def make(experiment: Experiment) -> None:
    """Train once, then make each film under every condition; films as they are drawn say how good the reader is."""
    tuned = experiment.load_model()
    trained = experiment.train("trained", tuned, clips(experiment, tuned))
    model, config = experiment.load_model(), experiment.config
    films, reading = config["films"], config["reading"]
    model.pipe.load_lora_weights(trained, adapter_name="character")
    for condition, number, seed in experiment.missing([DRAWN, *CONDITIONS]):
        num_shots = films["shots"][number % len(films["shots"])]
        scene = scene_of(experiment, model, films["first_seed"] + number, num_shots)
        starts = scene.plan.to_latent(model.stride).realised_frame
        if condition == DRAWN:
            pictures = render(scene, height=model.height, width=model.width)
            experiment.add(condition, number, seed, **read(pictures, scene, starts, **reading))
            continue
        tuning, mask = CONDITIONS[condition]
        model.pipe.set_adapters(["character"], [float(tuning)])
        general = scene.general_caption() if condition == TOLD else opening_of(experiment, num_shots)
        made = film(model, scene, general, mask=mask, seed=seed, **config["sampling"])
        seen = read(made.frames, scene, starts, **reading)
        experiment.add(condition, number, seed, **compare_cuts(made.cuts), **seen)


def summarise(experiment: Experiment) -> Row:
    """In how many shots the character is kept, and whether the cuts are in place; those of a caption go together."""
    character = experiment.config["character"]
    rows = by_condition(experiment.rows, lambda mine: measure(mine, character))
    for name in ("both_kept", "recall"):
        experiment.draw(name, rows, name)
    return {"conditions": rows}


def measure(rows: Sequence[Row], character: dict[str, str]) -> Row:
    """One condition; drawn films have no cuts to look for."""
    kept = {
        name: [sum(each == character[name] for each in row[f"{name}s"]) for row in rows]
        for name in ("colour", "shape")
    }
    both = [
        sum(
            said == (character["colour"], character["shape"])
            for said in zip(row["colours"], row["shapes"], strict=True)
        )
        for row in rows
    ]
    shots = [len(row["colours"]) for row in rows]
    return {
        "colour_kept": share(rows, kept["colour"], shots),
        "shape_kept": share(rows, kept["shape"], shots),
        "both_kept": share(rows, both, shots),
        **recall_and_precision(rows),
    }


if __name__ == "__main__":
    conduct(__file__, __doc__, make, summarise)
