"""Train a published model at its full size for one step, random weights in bfloat16, on a CPU within 20 GiB.

    python experiments/full_size/train.py [--model wan2.1-1.3b] [--results experiments/full_size/training.json]

One film of two shots through the whole trainer: encoded by the model's own VAE and text encoder, each shot reading its
own caption, under the mask of CineTrans in layers 7-28, LoRA of rank 64 in all projections, every block computed again
in the backward pass. What is asked is whether it fits and runs, not what is learned.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import resource
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import torch

import attnscope as scope
from attnscope.dataset import sample_scene
from attnscope.training.clips import clip_of
from attnscope.training.journal import LOG, read_lines
from attnscope.training.recipe import Recipe

HERE = Path(__file__).parent
RECIPE = Recipe(
    rank=64,
    steps=1,
    precision="bfloat16",
    checkpointing=True,
    caption_dropout=0.0,
    num_frames=17,
    height=96,
    width=96,
)
LIMIT_GIB = 20


def peak_gib() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def train(name: str) -> dict[str, object]:
    """Build the model, train it for a step, and say what that took."""
    pipe = scope.testing.full(name, dtype="bf16")
    built, began = peak_gib(), time.process_time()
    stepped: list[float] = []
    film = clip_of(sample_scene(0, num_shots=2, num_frames=RECIPE.num_frames))
    with tempfile.TemporaryDirectory() as out:
        done = scope.finetune(
            pipe,
            [film],
            out=out,
            rule="cinetrans-dit",
            recipe=RECIPE,
            on_step=lambda step, total: stepped.append(time.process_time()),
        )
        line = read_lines(Path(out) / LOG)[0]
    trained = [each for each in pipe.transformer.parameters() if each.dtype == torch.float32]
    return {
        "recipe": {key: value for key, value in asdict(RECIPE).items() if value},
        "weights": sum(each.numel() for each in pipe.transformer.parameters()),
        "trained_weights": sum(each.numel() for each in trained),
        "loss": done.loss,
        "gradient_norm": line["gradient_norm"],
        "processor_s": {"until_the_step_is_done": stepped[0] - began, "all": time.process_time() - began},
        "peak_gib": {"built": built, "trained": peak_gib()},
    }


def main() -> None:
    """Run once and write the numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="wan2.1-1.3b")
    parser.add_argument("--results", type=Path, default=HERE / "training.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    facts = {"model": given.model, "machine": platform.machine(), "torch": torch.__version__}
    found = {**facts, **train(given.model)}
    given.results.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))
    if found["peak_gib"]["trained"] > LIMIT_GIB or not 0 < found["gradient_norm"] < math.inf:
        print(f"train.py: expected {LIMIT_GIB} GiB at most and gradients that are numbers", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
