"""How sharp the first frames after a cut are, decoded in one go and shot by shot.

    python experiments/cut_decoding/run.py

The same latents are decoded both ways. Sharpness is the variance of the Laplacian of the grey picture, relative to its
median over the later frames of the shot; prints the four frames of the first latent frame after the cut.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import attnscope as scope
from attnscope import masks
from attnscope.dataset import sample_scene

HELD_OUT_SEED = 21_000_000
NUM_FILMS = 12


def sharpness(frames: Any) -> Any:
    """Variance of the Laplacian of each picture."""
    grey = frames.astype(float).mean(-1)
    inner = grey[:, 1:-1, 1:-1]
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    return (4 * inner - around).var((1, 2))


def main() -> None:
    """Make the films and print the table, medians last."""
    pipe: Any = scope.load("wan-mini")
    pipe.set_progress_bar_config(disable=True)
    seen: dict[bool, list[Any]] = {False: [], True: []}
    for number in range(NUM_FILMS):
        plan = scope.ShotPlan.from_latent_frames([3 + number % 8], num_frames_latent=13, fps=16)
        prompt = sample_scene(HELD_OUT_SEED + number, num_shots=1).caption("none")
        rule = masks.preset("cinetrans-dit", plan, first_frame=False)
        for by_shot in (False, True):
            film = scope.generate(
                pipe, prompt, shots=plan, rule=rule, seed=number, decode_shots=by_shot, num_inference_steps=12
            )
            cut = film.plan.realised_frame[0]
            values = sharpness(film.frames)
            seen[by_shot].append(values[cut : cut + 4] / np.median(values[cut + 4 :]))
            print(
                number,
                "by shot" if by_shot else "in one go",
                seen[by_shot][-1].round(3),
                film.cuts.found_frame,
            )
    for by_shot, rows in seen.items():
        print("median", "by shot" if by_shot else "in one go", np.median(rows, axis=0).round(3))


if __name__ == "__main__":
    main()
