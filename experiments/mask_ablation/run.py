"""Do masks cut where they are asked to? Films from one-shot prompts, without a mask, with it, and with its controls.

    python experiments/mask_ablation/run.py --model wan-mini --conditions none,blocks,first-frame --out runs/ablation

Keeps each film as `<out>/<model>/<condition>/<prompt>-<seed>.npy`; films that are there are skipped, so it can be
killed and repeated. `summary.py` looks for cuts in what is there.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from films import Frames, keep, path_of

import attnscope as scope
from attnscope import masks
from attnscope.dataset import sample_scene

HELD_OUT_SEED = 20_000_000
NUM_LATENT = 13
UNTRAINED = "untrained"

Change = Any


def _own_shot(layers: str, alpha: float | None = None) -> Callable[[scope.ShotPlan], Change]:
    def change(plan: scope.ShotPlan) -> Change:
        rule = masks.same_shot(plan)
        return masks.Intervention(rule if alpha is None else rule.soft(alpha), layers=layers)

    return change


CONDITIONS: dict[str, Callable[[scope.ShotPlan], Change]] = {
    "none": lambda plan: None,
    "blocks": lambda plan: masks.preset("cinetrans-dit", plan, first_frame=False),
    "first-frame": lambda plan: masks.preset("cinetrans-dit", plan),
    "all-layers": _own_shot("all"),
    "layers-1-6": _own_shot("1-6"),
    "layers-7-17": _own_shot("7-17"),
    "layers-18-28": _own_shot("18-28"),
    "permuted": lambda plan: masks.Intervention(masks.permuted(masks.same_shot(plan)), layers="7-28"),
    "band": lambda plan: masks.Intervention(
        masks.equal_band(masks.same_shot(plan), NUM_LATENT), layers="7-28"
    ),
    "other-boundary": lambda plan: masks.Intervention(
        masks.same_shot(masks.other_boundary(plan)), layers="7-28"
    ),
    "soft-1": _own_shot("7-28", 1),
    "soft-2": _own_shot("7-28", 2),
    "soft-4": _own_shot("7-28", 4),
    "soft-8": _own_shot("7-28", 8),
}


def plan_of(number: int) -> scope.ShotPlan:
    """Two shots; the cut walks over all positions of the latent grid, from 1 to 12."""
    cut = 1 + number % (NUM_LATENT - 1)
    return scope.ShotPlan.from_latent_frames([cut], num_frames_latent=NUM_LATENT, fps=16)


def prompt_of(number: int) -> str:
    """The caption of a held-out film of one shot."""
    return sample_scene(HELD_OUT_SEED + number, num_shots=1).caption("none")


def load(model: str) -> Any:
    """An embedded model, or the larger one with the weights it had before training."""
    import torch

    pipe: Any = scope.load("wan-mini" if model == UNTRAINED else model)
    if model == UNTRAINED:
        torch.manual_seed(0)
        pipe.transformer = type(pipe.transformer).from_config(pipe.transformer.config).eval()
    pipe.set_progress_bar_config(disable=True)
    return pipe


def film_of(pipe: Any, condition: str, number: int, seed: int) -> Frames:
    """One film of a condition."""
    plan = plan_of(number)
    change = CONDITIONS[condition](plan)
    return scope.generate(pipe, prompt_of(number), shots=plan, rule=change, seed=seed).frames


def run(model: str, conditions: list[str], numbers: range, seeds: range, out: Path) -> None:
    """Make what is missing, all conditions of a prompt before the next prompt."""
    pipe = load(model)
    for number, seed, condition in product(numbers, seeds, conditions):
        keep(path_of(out, model, condition, number, seed), partial(film_of, pipe, condition, number, seed))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="wan-mini", help=f"wan-mini, wan-mini-nocuts or {UNTRAINED}")
    parser.add_argument("--conditions", default=",".join(CONDITIONS))
    parser.add_argument("--prompts", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    given = parser.parse_args()
    run(given.model, given.conditions.split(","), range(given.prompts), range(given.seeds), given.out)


if __name__ == "__main__":
    main()
