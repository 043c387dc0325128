"""Ask whether the mask cuts, or the other noise that the second shot begins with; and where the mask must hold.

    python experiments/mask_ablation/noise.py --model wan-mini --out runs/ablation     # makes what is missing
    python experiments/mask_ablation/noise.py --out runs/ablation --table              # looks for cuts, measures them

Thirty one-shot prompts, cut at latent frame 5, 6, 7 or 8 of 13. Each film is kept with the latents that it was decoded
from. `same` noise: the shorter shot begins with the noise of as many frames at the start of the longer one, so that the
two shots differ in nothing that the model is given but their place in the film.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from films import Frames, kept, path_of
from run import HELD_OUT_SEED, NUM_LATENT, load
from torch import Tensor

import attnscope as scope
from attnscope import masks
from attnscope.dataset import sample_scene

TOLERANCE_FRAME = 2
LAYERS = "7-28"
MODELS = ("wan-mini", "wan-mini-nocuts")


class Condition(NamedTuple):
    """What is done to a film: where the own-shot mask holds, and what noise the film begins with."""

    words: str
    layers: str | None = None
    branch: str = "cond,uncond"
    same_noise: bool = False
    stitched: bool = False


CONDITIONS = {
    "none": Condition("no mask"),
    "none-same": Condition("no mask, same noise", same_noise=True),
    "mask": Condition("mask in layers 7-28", LAYERS),
    "mask-same": Condition("mask in layers 7-28, same noise", LAYERS, same_noise=True),
    "all": Condition("mask in all layers", "all"),
    "all-same": Condition("mask in all layers, same noise", "all", same_noise=True),
    "cond": Condition("mask in 7-28, branch cond alone", LAYERS, "cond"),
    "uncond": Condition("mask in 7-28, branch uncond alone", LAYERS, "uncond"),
    "stitched": Condition("shots made apart and stitched", stitched=True),
    "stitched-same": Condition("shots made apart, same noise", same_noise=True, stitched=True),
}


def plan_of(number: int) -> scope.ShotPlan:
    """Two shots, neither under five latent frames."""
    return scope.ShotPlan.from_latent_frames([5 + number % 4], num_frames_latent=NUM_LATENT, fps=16)


def noise_of(pipe: Any, number: int, seed: int, *, same: bool) -> Tensor:
    """The noise that a film begins with: `(1, channels, latent frames, height, width)`."""
    channels = pipe.transformer.config.in_channels
    noise = torch.randn((1, channels, NUM_LATENT, 8, 8), generator=torch.Generator("cpu").manual_seed(seed))
    if same:
        (cut,) = plan_of(number).to_latent().cuts
        length = min(cut, NUM_LATENT - cut)
        first, second = noise[:, :, :length], noise[:, :, cut : cut + length]
        if cut <= NUM_LATENT - cut:
            first.copy_(second)
        else:
            second.copy_(first)
    return noise


def film_of(pipe: Any, name: str, number: int, seed: int) -> tuple[Frames, np.ndarray]:
    """Make one film: its frames and its latents `(channels, latent frames, height, width)`."""
    condition, plan = CONDITIONS[name], plan_of(number)
    noise = noise_of(pipe, number, seed, same=condition.same_noise)
    prompt = sample_scene(HELD_OUT_SEED + number, num_shots=1).caption("none")
    if condition.stitched:
        (cut,) = plan.to_latent().cuts
        shots = [_denoise(pipe, prompt, part) for part in (noise[:, :, :cut], noise[:, :, cut:])]
        return np.concatenate([shot[0] for shot in shots]), np.concatenate(
            [shot[1] for shot in shots], axis=1
        )
    change: Any = nullcontext()
    if condition.layers is not None:
        change = scope.intervene(
            pipe, masks.same_shot(plan), layers=condition.layers, branch=condition.branch
        )
    with change:
        return _denoise(pipe, prompt, noise)


def _denoise(pipe: Any, prompt: str, noise: Tensor) -> tuple[Frames, np.ndarray]:
    last: list[Tensor] = []

    def catch(_pipe: Any, _step: int, _timestep: Any, state: dict[str, Any]) -> dict[str, Any]:
        last[:] = [state["latents"]]
        return state

    num_frames = 4 * (noise.shape[2] - 1) + 1
    video = pipe(prompt, num_frames=num_frames, latents=noise, callback_on_step_end=catch).frames[0]
    return np.round(255 * np.clip(video, 0, 1)).astype(np.uint8), last[0][0].float().numpy()


def make(model: str, out: Path, numbers: range, names: list[str]) -> None:
    """Make the films that are missing; latents are written first, so that a film that is there has its own."""
    pipe = load(model)
    for number, name in product(numbers, names):
        path = path_of(out, model, f"noise-{name}", number, 0)
        if path.is_file():
            continue
        frames, latents = film_of(pipe, name, number, 0)
        for place, array in ((path.parent / "latents" / path.name, latents), (path, frames)):
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.with_suffix(".part").open("wb") as file:
                np.save(file, array)
            place.with_suffix(".part").replace(place)
        print(path, flush=True)


def step_at(values: np.ndarray, cut: int, apart: int) -> tuple[float, float]:
    """How far pictures on both sides of the cut are apart, and how far pictures within a shot: `(frames, ...)`.

    Root mean square difference of pictures `apart` frames from each other; within shots the median over places.
    """
    first = np.arange(len(values) - apart)
    size = np.sqrt(((values[apart:] - values[:-apart]) ** 2).reshape(len(first), -1).mean(axis=1))
    within = size[(first + apart < cut) | (first >= cut)]
    return float(size[cut - 1]), float(np.median(within))


def measure(out: Path, model: str, name: str, detector: Any) -> dict[str, Any]:
    """Count the films that are cut in place, and say how strong the cuts are in pixels and in latents."""
    rows = []
    for (number, seed), frames in kept(out, model, f"noise-{name}").items():
        latent = plan_of(number).to_latent()
        (asked,) = latent.realised_frame
        found = scope.metrics.detect_cuts(frames, 16, detector=detector, shortest_shot_s=0).cuts_frame
        latents = np.load(out / model / f"noise-{name}" / "latents" / f"{number}-{seed}.npy")
        pixels = step_at(frames.astype(np.float64) / 255, asked, 4)
        steps = step_at(np.moveaxis(latents.astype(np.float64), 1, 0), latent.cuts[0], 1)
        hit = bool(scope.metrics.match_cuts(found, [asked], tolerance_frame=TOLERANCE_FRAME))
        rows.append((hit, *pixels, *steps))
    table = np.array(rows, dtype=np.float64)
    return {"films": len(table), "cut": int(table[:, 0].sum()), "means": table[:, 1:].mean(axis=0)}


def table(out: Path, model: str) -> None:
    """Print the table of README.md for one model, if there are films of it."""
    there = [name for name in CONDITIONS if kept(out, model, f"noise-{name}")]
    if not there:
        return
    heads = ("span", "TransNetV2", "pixels: at the cut", "within", "latents: at the cut", "within")
    print(f"\n{model}\n\n| condition | films | {' | '.join(heads)} |\n|---|{'---|' * (len(heads) + 1)}")
    for name in there:
        span = measure(out, model, name, "span")
        network = measure(out, model, name, "transnetv2")
        cells = [f"{each['cut']}/{each['films']}" for each in (span, network)]
        cells += [
            f"{value:.3f}" if index < 2 else f"{value:.2f}" for index, value in enumerate(span["means"])
        ]
        print(f"| {CONDITIONS[name].words} | {span['films']} | {' | '.join(cells)} |")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="wan-mini", choices=MODELS)
    parser.add_argument("--conditions", default=",".join(CONDITIONS))
    parser.add_argument("--films", type=int, default=30)
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    work: Callable[[], None] = partial(
        make, given.model, given.out, range(given.films), given.conditions.split(",")
    )
    if given.table:
        work = partial(_tables, given.out)
    work()


def _tables(out: Path) -> None:
    for model in MODELS:
        table(out, model)


if __name__ == "__main__":
    main()
