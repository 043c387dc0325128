"""Which layers carry the cut? A mask in one layer at a time, in windows of layers, in single heads and steps.

    python experiments/layer_sweep/run.py --out runs/layer_sweep

Sweeps of `attnscope.sweep` over the same films, resumable; `--figures` draws what is there into this folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import attnscope as scope
from attnscope.dataset import sample_scene
from attnscope.plots import plot_effect_grid, plot_effects, save_figure
from attnscope.structure import causal_effect, effect_grid

HERE = Path(__file__).parent
HELD_OUT_SEED = 22_000_000
NUM_STEPS = 10
CUTS = (7, 3, 10, 5, 9, 2)
SINGLE = {"over": "layers", "layers": "all"}
WINDOWS = {
    "over": "layers",
    "layers": "7-28",
    "values": ["1-6", "7-12", "13-18", "19-24", "25-30", "7-17", "18-28", "1-15", "16-30"],
}
STEPS = {"over": "steps", "layers": "7-28", "values": ["0-2", "3-5", "6-9", "0-4", "5-9"]}
HEADS = {"over": "heads", "layers": "7-28", "values": ["0", "1", "2", "3", "0-1", "2-3"]}
JITTER = {"over": "jitter", "layers": "7-28", "values": [1, 2, 3]}
SWEEPS = {"windows": WINDOWS, "single": SINGLE, "steps": STEPS, "heads": HEADS, "jitter": JITTER}


def main() -> None:
    """Make what is missing, then draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="wan-mini")
    parser.add_argument("--films", type=int, default=4)
    parser.add_argument("--sweeps", default=",".join(SWEEPS))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/layer_sweep"))
    parser.add_argument("--figures", action="store_true")
    parser.add_argument("--find", action="store_true", help="search a smallest set of layers instead")
    given = parser.parse_args()
    prompts = [sample_scene(HELD_OUT_SEED + film, num_shots=1).caption("none") for film in range(given.films)]
    plans = [
        scope.ShotPlan.from_latent_frames([CUTS[film % len(CUTS)]], num_frames_latent=13, fps=16)
        for film in range(given.films)
    ]
    if given.find:
        found = scope.find_layers(
            given.model,
            prompts,
            shots=plans,
            out=given.out,
            layers="7-28",
            measure="recall",
            num_inference_steps=NUM_STEPS,
        )
        for layers, score in found.trail:
            print(f"tried {layers:<30} recall {score:.2f}", flush=True)
        print(f"found {found.layers}: recall {found.searched_score:.2f} on the films of the search")
        print(f"on {found.num_held_out} others {found.score:.2f}, all layers {found.full_score:.2f}")
        return
    for name in given.sweeps.split(","):
        swept = scope.sweep(
            given.model,
            prompts=prompts,
            shots=plans,
            out=given.out,
            processes=given.processes,
            num_inference_steps=NUM_STEPS,
            **SWEEPS[name],
        )
        effect = causal_effect(swept)
        for cell, mean, num in zip(
            swept.cell.values, effect["mean"].values, effect["num"].values, strict=True
        ):
            print(f"{name:<8} {cell:<14} recall {mean:.2f} of {int(num)} films", flush=True)
        if given.figures:
            save_figure(plot_effects(effect, label="recall"), HERE / name)
            grid = effect_grid(swept, rows="cell", columns="cuts_frame")
            save_figure(plot_effect_grid(grid), HERE / f"{name}_by_cut")


if __name__ == "__main__":
    main()
