"""Two to eight shots in one video, even and uneven, from one-shot prompts.

    python experiments/mask_ablation/many_shots.py --rounds 3 --out runs/ablation

Keeps films as `<out>/many/<condition>-<shots>/<number>-<round>.npy`; films that are there are skipped.
"""

from __future__ import annotations

import argparse
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from films import Frames, keep, path_of
from run import prompt_of

import attnscope as scope
from attnscope import masks

FIRST_PROMPT = 200
CONDITIONS = ("blocks", "first-frame")
PLANS: dict[int, list[tuple[list[int], int]]] = {
    2: [([1], 13), ([4], 13), ([6], 13), ([9], 13), ([12], 13)],
    3: [([4, 8], 13), ([2, 9], 13), ([1, 6], 13), ([5, 11], 13)],
    4: [([3, 6, 9], 13), ([2, 4, 9], 13), ([5, 7, 11], 13), ([1, 4, 10], 13)],
    6: [([2, 4, 6, 8, 10], 13), ([2, 5, 7, 9, 11], 13), ([3, 5, 8, 11, 14], 17), ([1, 3, 6, 10, 13], 17)],
    8: [
        ([2, 4, 6, 8, 10, 12, 14], 17),
        ([2, 4, 6, 8, 10, 12, 15], 17),
        ([1, 3, 5, 7, 9, 12, 14], 17),
        ([2, 5, 7, 9, 11, 13, 15], 17),
    ],
}
"""Cuts in latent frames, and how many latent frames the video has, by the number of shots."""


def plan_of(num_shots: int, number: int) -> scope.ShotPlan:
    """A plan of so many shots; `number` picks which, and counts ten more a round."""
    cuts, num_frames = PLANS[num_shots][number % 10]
    return scope.ShotPlan.from_latent_frames(cuts, num_frames_latent=num_frames, fps=16)


def film_of(pipe: Any, condition: str, num_shots: int, number: int) -> Frames:
    """One film of so many shots."""
    plan = plan_of(num_shots, number)
    rule = masks.preset("cinetrans-dit", plan, first_frame=condition == "first-frame")
    return scope.generate(pipe, prompt_of(FIRST_PROMPT + number), shots=plan, rule=rule, seed=number).frames


def main() -> None:
    """Make what is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    given = parser.parse_args()
    pipe: Any = scope.load("wan-mini")
    pipe.set_progress_bar_config(disable=True)
    numbers = [10 * turn + each for turn in range(given.rounds) for each in range(10)]
    jobs = [(shots, number) for number in numbers for shots in PLANS if number % 10 < len(PLANS[shots])]
    for (num_shots, number), condition in product(jobs, CONDITIONS):
        path = path_of(given.out, "many", f"{condition}-{num_shots}", number, number)
        keep(path, partial(film_of, pipe, condition, num_shots, number))


if __name__ == "__main__":
    main()
