"""How soft may the mask be? Recall of cuts and likeness of shots by dose, by annealing, and by fading at the boundary.

python experiments/soft_masks/run.py
python experiments/soft_masks/run.py --quick
python experiments/soft_masks/run.py --model owner/name --out runs/soft_masks_large

Films that are there are not made again: it can be killed and repeated.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from conducting import Experiment, Row, SizedModel, conduct
from measuring import by_condition, compare_cuts, likeness, mean, recall_and_precision

import attnscope as scope
from attnscope import masks


def rules(plan: scope.ShotPlan, experiment: Experiment) -> dict[str, masks.MaskRule | None]:
    """All conditions by name: from no mask over soft ones to the hard one."""
    hard, asked = masks.same_shot(plan), experiment.config["masks"]
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


def prompt_of(number: int, model: SizedModel, experiment: Experiment) -> str:
    """The caption of a held-out film of one shot."""
    return model.invent(experiment.config["films"]["first_seed"] + number, 1).caption("none")


def make(experiment: Experiment) -> None:
    """Make every film under every rule."""
    model = experiment.load_model()
    config = experiment.config
    for condition, number, seed in experiment.missing(list(rules(model.plan_one_cut(0), experiment))):
        plan = model.plan_one_cut(number)
        rule = rules(plan, experiment)[condition]
        scoped = {} if rule is None else {"rule": rule, "layers": model.layers}
        prompt = prompt_of(number, model, experiment)
        film = model.make(prompt, plan, seed=seed, **scoped, **config["sampling"])
        alike = likeness(film, **config["likeness"])
        experiment.add(condition, number, seed, **compare_cuts(film.cuts), likeness=alike)


def summarise(experiment: Experiment) -> Row:
    """Cuts in place and likeness of shots by the strength of the mask."""
    rows = by_condition(experiment.rows, measure)
    for name in ("recall", "likeness"):
        experiment.draw(name, rows, name)
    return {"conditions": rows}


def measure(rows: Sequence[Row]) -> Row:
    """One condition."""
    return {**recall_and_precision(rows), "likeness": mean([row["likeness"] for row in rows])}


if __name__ == "__main__":
    conduct(__file__, __doc__, make, summarise)
