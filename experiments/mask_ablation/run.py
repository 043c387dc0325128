"""Do masks cut where they are asked to? Films from one-shot prompts, without a mask, with it, and with its controls.

    python experiments/mask_ablation/run.py --model wan-mini --conditions none,blocks,first-frame --out runs/ablation

Writes one line of JSON a film to `<out>/<model>.jsonl`; films that are there are skipped, so it can be killed and
repeated. `--summary` prints the table of what is there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import attnscope as scope
from attnscope import masks
from attnscope.dataset import sample_scene

HELD_OUT_SEED = 20_000_000
NUM_LATENT = 13

Change = Any
CONDITIONS: dict[str, Callable[[scope.ShotPlan], Change]] = {
    "none": lambda plan: None,
    "blocks": lambda plan: masks.preset("cinetrans-dit", plan, first_frame=False),
    "first-frame": lambda plan: masks.preset("cinetrans-dit", plan),
    "all-layers": lambda plan: masks.Intervention(masks.same_shot(plan)),
    "layers-1-6": lambda plan: masks.Intervention(masks.same_shot(plan), layers="1-6"),
    "layers-7-17": lambda plan: masks.Intervention(masks.same_shot(plan), layers="7-17"),
    "layers-18-28": lambda plan: masks.Intervention(masks.same_shot(plan), layers="18-28"),
    "permuted": lambda plan: masks.Intervention(masks.permuted(masks.same_shot(plan)), layers="7-28"),
    "band": lambda plan: masks.Intervention(
        masks.equal_band(masks.same_shot(plan), NUM_LATENT), layers="7-28"
    ),
    "other-boundary": lambda plan: masks.Intervention(
        masks.same_shot(masks.other_boundary(plan)), layers="7-28"
    ),
    "soft-1": lambda plan: masks.Intervention(masks.same_shot(plan).soft(1), layers="7-28"),
    "soft-2": lambda plan: masks.Intervention(masks.same_shot(plan).soft(2), layers="7-28"),
    "soft-4": lambda plan: masks.Intervention(masks.same_shot(plan).soft(4), layers="7-28"),
    "soft-8": lambda plan: masks.Intervention(masks.same_shot(plan).soft(8), layers="7-28"),
}


def plan_of(number: int) -> scope.ShotPlan:
    """Two shots; the cut walks over all positions that leave two latent frames on either side."""
    cut = 2 + number % (NUM_LATENT - 3)
    return scope.ShotPlan.from_latent_frames([cut], num_frames_latent=NUM_LATENT, fps=16)


def run(model: str, conditions: list[str], num_prompts: int, num_seeds: int, out: Path) -> None:
    """Make what is missing."""
    path = out / f"{model}.jsonl"
    out.mkdir(parents=True, exist_ok=True)
    there = {(row["condition"], row["prompt"], row["seed"]) for row in rows_of(path)}
    pipe = scope.load(model)
    pipe.set_progress_bar_config(disable=True)
    for number in range(num_prompts):
        plan, prompt = plan_of(number), sample_scene(HELD_OUT_SEED + number, num_shots=1).caption("none")
        for seed in range(num_seeds):
            for condition in conditions:
                if (condition, number, seed) in there:
                    continue
                film = scope.generate(pipe, prompt, shots=plan, rule=CONDITIONS[condition](plan), seed=seed)
                row = {
                    "condition": condition, "prompt": number, "seed": seed, "asked": film.cuts.asked_frame,
                    "found": film.cuts.found_frame, "matched": film.cuts.num_matched,
                    "visible_fraction": film.visible_fraction,
                }  # fmt: skip
                with path.open("a") as file:
                    file.write(json.dumps(row) + "\n")


def rows_of(path: Path) -> list[dict[str, Any]]:
    """What was made so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def summary(path: Path) -> None:
    """Print recall and precision over all cuts of each condition, and the share of films cut exactly as asked."""
    rows = rows_of(path)
    print(f"{path.stem:<16} films  recall  precision  exact  offset of matched cuts in frames")
    for condition in CONDITIONS:
        mine = [row for row in rows if row["condition"] == condition]
        if not mine:
            continue
        asked, found, matched = (
            sum(len(row["asked"]) for row in mine),
            sum(len(row["found"]) for row in mine),
            sum(row["matched"] for row in mine),
        )
        exact = np.mean([row["matched"] == len(row["asked"]) == len(row["found"]) for row in mine])
        offsets = [f - a for row in mine for f in row["found"] for a in row["asked"] if abs(f - a) <= 2]
        precision = f"{matched / found:9.3f}" if found else "        -"
        shown = dict(zip(*map(np.ndarray.tolist, np.unique(offsets, return_counts=True)), strict=True))
        print(f"{condition:<16} {len(mine):5d} {matched / asked:7.3f}  {precision}  {exact:5.2f}  {shown}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="wan-mini")
    parser.add_argument("--conditions", default=",".join(CONDITIONS))
    parser.add_argument("--prompts", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--summary", action="store_true")
    given = parser.parse_args()
    if not given.summary:
        run(given.model, given.conditions.split(","), given.prompts, given.seeds, given.out)
    summary(given.out / f"{given.model}.jsonl")


if __name__ == "__main__":
    main()
