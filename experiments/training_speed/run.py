"""Measure what the trainer costs beside a bare loop, and whether a step under a mask is slower or larger than without.

    python experiments/training_speed/run.py
    python experiments/training_speed/run.py --quick

Steps of both kinds alternate in one process, one thread, and what is counted is processor time: a busy machine slows
both, and their ratio stays. The memory of a step is that of the tensors which are alive at its worst moment.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "kernels" / "benchmarks"))
import torch
from diffusers import WanTransformer3DModel
from measuring import peak_mib

import attnscope as scope
from attnscope.families.protocols import Pipeline
from attnscope.testing import tiny
from attnscope.training.batches import Batch
from attnscope.training.clips import DrawnFilms
from attnscope.training.denoisers import find_trainable
from attnscope.training.forward import TrainingForward, training_forward
from attnscope.training.objectives import Flow
from attnscope.training.recipe import Recipe
from attnscope.training.rules import Subject
from attnscope.training.weights import prepare_weights

HERE = Path(__file__).parent
WARM = 2  # pairs that are left out
TEXT_TOKENS, TEXT_WIDTH, CHANNELS = 64, 32, 16


class BareLoop:
    """LoRA as one would write it with diffusers, peft and torch alone: forward, loss, backward, clip, update."""

    def __init__(self, denoiser: Any, adapters: Any, recipe: Recipe) -> None:
        denoiser.requires_grad_(False)
        denoiser.add_adapter(adapters)
        self._denoiser = denoiser.train()
        self._weights = [each for each in denoiser.parameters() if each.requires_grad]
        self._optimiser = torch.optim.AdamW(
            self._weights, lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )

    def step(self, latents: torch.Tensor, timesteps: torch.Tensor, text: torch.Tensor) -> float:
        """One update on a batch of latents."""
        noise = torch.randn_like(latents)
        sigmas = (timesteps / 1000).reshape(-1, 1, 1, 1, 1)
        shown = (1 - sigmas) * latents + sigmas * noise
        answer = self._denoiser(shown, timesteps, text, return_dict=False)[0]
        loss = torch.nn.functional.mse_loss(answer, noise - latents)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._weights, 1.0)
        self._optimiser.step()
        self._optimiser.zero_grad()
        return loss.item()


class Turns:
    """Counts the processor seconds of the trainer's steps, and makes a bare one of the same shape after each."""

    def __init__(self, pipe: Pipeline, other: Pipeline, recipe: Recipe) -> None:
        self._pipe, self._other, self._recipe = pipe, other, recipe
        self._bare: BareLoop | None = None
        self._given: tuple[torch.Tensor, ...] = ()
        self.pairs: list[tuple[float, float]] = []
        self._watch = pipe.transformer.register_forward_pre_hook(self._remember)
        self._began = time.process_time()

    def _remember(self, denoiser: Any, given: tuple[Any, ...]) -> None:
        self._given = tuple(each.detach().clone() for each in given)
        self._watch.remove()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the latents that the trainer gives the denoiser."""
        return tuple(self._given[0].shape)

    @property
    def num_text_tokens(self) -> int:
        """How many tokens of text the trainer gives it."""
        return int(self._given[2].shape[1])

    def take(self, done: int, total: int) -> None:
        """A step of the trainer is over."""
        trainer = time.process_time() - self._began
        if self._bare is None:
            adapters = next(iter(self._pipe.transformer.peft_config.values()))
            self._bare = BareLoop(self._other.transformer, adapters, self._recipe)
        before = time.process_time()
        self._bare.step(*self._given)
        self.pairs.append((trainer, time.process_time() - before))
        self._began = time.process_time()


def compare_with_bare_loop(
    build: Callable[[], Pipeline], num_pairs: int, batch_size: int, **size: int
) -> dict[str, Any]:
    """The trainer without a rule beside the bare loop: what is left is what the trainer itself costs."""
    recipe = Recipe(
        rank=16, steps=num_pairs + WARM, batch_size=batch_size, checkpoint_every=0, routed=0.0, **size
    )
    pipe, other = build(), build()
    turns = Turns(pipe, other, recipe)
    with tempfile.TemporaryDirectory() as out:
        films = DrawnFilms(batch_size, (2,), options={"world": "plain"})
        scope.finetune(pipe, films, out=out, recipe=recipe, on_step=turns.take)
    *_, frames, height, width = turns.shape
    tokens = frames * (height // 2) * (width // 2)
    shape = {"batch_size": batch_size, "tokens": tokens, "text_tokens": turns.num_text_tokens}
    return {**shape, **ratios(turns.pairs[WARM:], "trainer", "bare")}


def ratios(pairs: list[tuple[float, float]], one: str, other: str) -> dict[str, Any]:
    """The median of the ratios of neighbouring steps, with all of them between `low` and `high`."""
    each = [first / second for first, second in pairs]
    return {
        "pairs": len(pairs),
        f"{one}_s": statistics.median(first for first, _ in pairs),
        f"{other}_s": statistics.median(second for _, second in pairs),
        "ratio": statistics.median(each),
        "low": min(each),
        "high": max(each),
    }


def wide_pipeline(blocks: int, heads: int) -> Pipeline:
    """A Wan pipeline whose denoiser has heads of 64."""
    torch.manual_seed(0)
    pipe = tiny("wan")
    pipe.transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=heads,
        attention_head_dim=64,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        text_dim=TEXT_WIDTH,
        freq_dim=64,
        ffn_dim=4 * heads * 64,
        num_layers=blocks,
        rope_max_seq_len=128,
    )
    return pipe


def batch_of(num_latent: int, side: int) -> Batch:
    """One film of two shots, out of noise."""
    plan = scope.ShotPlan.from_latent_frames([num_latent // 2], num_frames_latent=num_latent, fps=16)
    subject = Subject(plan.to_latent(), None, 0.5, False, True)
    latents, noise = torch.randn(2, 1, CHANNELS, num_latent, side, side)
    text = torch.randn(1, TEXT_TOKENS, TEXT_WIDTH)
    return Batch(latents, noise, torch.tensor([500.0]), text, {}, (subject,), ("noise",))


def compare_with_unmasked(
    blocks: int, heads: int, num_latent: int, side: int, num_pairs: int
) -> dict[str, Any]:
    """Forward and backward under the mask beside the same without."""
    model = find_trainable(wide_pipeline(blocks, heads))
    prepare_weights(model, Recipe(rank=16))
    batch = batch_of(num_latent, side)
    with training_forward(model, Flow(), "same_shot") as forward:
        memory = {
            f"{name}_mib": peak_mib(lambda ruled=ruled: step(forward, batch, is_ruled=ruled), "cpu")
            for name, ruled in (("masked", True), ("unmasked", False))
        }
        pairs = []
        for _ in range(num_pairs + 1):
            spent = []
            for is_ruled in (True, False):
                before = time.process_time()
                step(forward, batch, is_ruled=is_ruled)
                spent.append(time.process_time() - before)
            pairs.append((spent[0], spent[1]))
    tokens = num_latent * (side // 2) ** 2
    size = {"blocks": blocks, "heads": heads, "head_size": 64, "tokens": tokens, "shots": 2}
    return {**size, **ratios(pairs[1:], "masked", "unmasked"), **memory}


def step(forward: TrainingForward, batch: Batch, *, is_ruled: bool) -> None:
    """One forward and backward; gradients are thrown away."""
    forward.loss(batch, is_ruled=is_ruled).backward()
    for each in forward.model.denoiser.parameters():
        each.grad = None


def main() -> None:
    """Measure both and write the numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="wan-mini-nocuts", help="the model of the bare loop")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--results", type=Path, default=HERE / "results.json")
    parser.add_argument("--quick", action="store_true", help="a few small steps; writes nothing")
    given = parser.parse_args()
    torch.set_num_threads(1)
    pairs = 1 if given.quick else given.pairs
    few = max(1, pairs // 4)
    size = (1, 2, 5, 16, 1) if given.quick else (2, 4, 13, 40, few)
    blocks, heads, _, side, _ = size
    mask = compare_with_unmasked(*size)
    print(json.dumps(mask), flush=True)
    small = compare_with_bare_loop(lambda: scope.load(given.model), pairs, 1 if given.quick else 4)
    loops = [{"model": given.model, **small}]
    print(json.dumps(loops), flush=True)
    if not given.quick:
        pixels = {"height": 8 * side, "width": 8 * side}
        large = compare_with_bare_loop(lambda: wide_pipeline(blocks, heads), few, 1, **pixels)
        loops.append({"model": f"{blocks} blocks of {heads} heads of 64", **large})
        print(json.dumps(loops[-1]), flush=True)
    if not given.quick:
        facts = {"machine": platform.machine(), "threads": 1, "torch": torch.__version__}
        table = {**facts, "beside_a_bare_loop": loops, "beside_no_mask": mask}
        given.results.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
