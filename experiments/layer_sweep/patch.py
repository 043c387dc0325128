"""Do frame masses alone carry the cut? The masses of a run with a cut, written into a run without a mask.

    python experiments/layer_sweep/patch.py --films 4

The run with a cut weighs other shots down by e^8 in layers 7-28. Its frame masses, both guidance branches, are written
into a run of the same prompt and noise that no mask touches; which token is looked at within a frame stays that run's.
"""

from __future__ import annotations

import argparse
from typing import Any

from run import CUTS, HELD_OUT_SEED, NUM_STEPS

import attnscope as scope
from attnscope import masks
from attnscope.dataset import sample_scene


def main() -> None:
    """Print where each film is cut: without a mask, and with the masses of the other run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--films", type=int, default=4)
    given = parser.parse_args()
    pipe: Any = scope.load("wan-mini")
    pipe.set_progress_bar_config(disable=True)
    few = {"num_inference_steps": NUM_STEPS, "seed": 0}
    for film in range(given.films):
        plan = scope.ShotPlan.from_latent_frames([CUTS[film % len(CUTS)]], num_frames_latent=13, fps=16)
        prompt = sample_scene(HELD_OUT_SEED + film, num_shots=1).caption("none")
        with scope.intervene(pipe, masks.same_shot(plan).soft(8), layers="7-28"):
            record = scope.probe(
                pipe, prompt, branch="cond,uncond", layers="7-28", num_frames=plan.num_frames, **few
            )
        plain = scope.generate(pipe, prompt, shots=plan, **few)
        with scope.patch_mass(pipe, record):
            patched = scope.generate(pipe, prompt, shots=plan, **few)
        print(
            f"film {film}: asked {plain.cuts.asked_frame}, no mask {plain.cuts.found_frame}, "
            f"patched {patched.cuts.found_frame}",
            flush=True,
        )


if __name__ == "__main__":
    main()
