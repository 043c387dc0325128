"""Stage 4: the diffusion transformer (WanTransformer3DModel), flow matching on latents of films.

Trained shallow first, then deepened: each block becomes several copies whose output projections are divided by
their number, which leaves the function nearly unchanged (progressive stacking, Gong et al., ICML 2019). Most steps
then cost a fraction of a 30-block step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from batches import Batch, TrainingSet
from diffusers import WanTransformer3DModel
from diffusers.models.transformers import transformer_wan
from loop import Budget, load_state, save_state
from torch import nn


def build_transformer(config: dict[str, Any], num_layers: int, channels: int) -> WanTransformer3DModel:
    """A WanTransformer3DModel of this depth, freshly initialised."""
    return WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=config["num_attention_heads"],
        attention_head_dim=config["attention_head_dim"],
        in_channels=channels,
        out_channels=channels,
        text_dim=128,
        freq_dim=128,
        ffn_dim=config["ffn_dim"],
        num_layers=num_layers,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=64,
    )


def deepen(weights: dict[str, torch.Tensor], copies: Sequence[int]) -> dict[str, torch.Tensor]:
    """Make block n ``copies[n]`` blocks in a row, each contributing its share."""
    first = [sum(copies[:block]) for block in range(len(copies))]
    grown = {}
    for name, value in weights.items():
        if not name.startswith("blocks."):
            grown[name] = value.clone()
            continue
        _, index, rest = name.split(".", 2)
        num = copies[int(index)]
        share = num if rest.startswith(("attn1.to_out.0", "attn2.to_out.0", "ffn.net.2")) else 1
        for copy in range(num):
            grown[f"blocks.{first[int(index)] + copy}.{rest}"] = value / share
    return grown


@contextmanager
def plain_attention(text_bias: torch.Tensor) -> Iterator[None]:
    """Run Wan's attention as two matrix products; on CPU the fused kernel's backward is several times slower.

    ``text_bias`` (B, T, K) is added to the scores of text cross-attention, the same for all tokens of a frame.
    """

    def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **_: Any) -> torch.Tensor:
        batch, tokens, heads, width = query.shape
        q, k, v = (t.transpose(1, 2).reshape(batch * heads, -1, width) for t in (query, key, value))
        scores = torch.bmm(q * width**-0.5, k.transpose(1, 2))
        if key.shape[1] != tokens:
            frames = text_bias.shape[1]
            scores = scores.view(batch, heads, frames, tokens // frames, -1)
            scores = (scores + text_bias[:, None, :, None].to(scores.dtype)).view(batch * heads, tokens, -1)
        return torch.bmm(scores.softmax(-1), v).view(batch, heads, tokens, width).transpose(1, 2)

    before = transformer_wan.dispatch_attention_fn
    transformer_wan.dispatch_attention_fn = attend
    try:
        yield
    finally:
        transformer_wan.dispatch_attention_fn = before


def flow_loss(
    model: nn.Module, batch: Batch, generator: torch.Generator, dtype: torch.dtype, sigma_shift: float
) -> torch.Tensor:
    """Mean squared error of the velocity; sigma = shift u / (1 + (shift - 1) u), at 3 the pipeline's schedule."""
    uniform = torch.rand(len(batch.latents), generator=generator)
    sigma = (sigma_shift * uniform / (1 + (sigma_shift - 1) * uniform))[:, None, None, None, None]
    noise = torch.randn(batch.latents.shape, generator=generator)
    noised = ((1 - sigma) * batch.latents + sigma * noise).to(dtype)
    with plain_attention(batch.text_bias):
        velocity = model(noised, 1000 * sigma.flatten(), batch.text.to(dtype), return_dict=False)[0]
    return (velocity.float() - (noise - batch.latents)).square().mean()


class Master(nn.Module):
    """The float32 weights that are optimised; the model that computes is their bfloat16 copy."""

    def __init__(self, model: WanTransformer3DModel) -> None:
        super().__init__()
        self.weights = nn.ParameterList(
            [nn.Parameter(p.detach().float().clone()) for p in model.parameters()]
        )

    def collect(self, model: nn.Module) -> None:
        """Take over the gradients of the copy."""
        for master, parameter in zip(self.weights, model.parameters(), strict=True):
            master.grad = None if parameter.grad is None else parameter.grad.float()
            parameter.grad = None

    @torch.no_grad()
    def publish(self, model: nn.Module) -> None:
        """Write the weights into the copy."""
        for master, parameter in zip(self.weights, model.parameters(), strict=True):
            parameter.copy_(master)


def build_optimizers(model: WanTransformer3DModel, master: Master, config: dict[str, Any]) -> list[Any]:
    """Muon for the matrices of the blocks, AdamW for everything else."""
    names = [name for name, _ in model.named_parameters()]
    matrix = [w for name, w in zip(names, master.weights, strict=True) if "blocks." in name and w.ndim == 2]
    others = [
        w for name, w in zip(names, master.weights, strict=True) if not ("blocks." in name and w.ndim == 2)
    ]
    return [
        torch.optim.Muon(matrix, lr=config["lr_matrix"], weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=config["lr_other"], betas=(0.9, 0.98), weight_decay=0.0),
    ]


def train_stage(
    model: WanTransformer3DModel,
    films: TrainingSet,
    stem: Path,
    config: dict[str, Any],
    *,
    first_step: int,
) -> dict[str, torch.Tensor]:
    """Train the steps of one stage; returns the averaged weights. A killed run goes on from its last state.

    ``config`` is the transformer's recipe with this stage's own settings on top.
    """
    dtype = torch.bfloat16
    master = Master(model)
    optimizers = build_optimizers(model, master, config)
    rates = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    average = {name: p.detach().float().clone() for name, p in model.named_parameters()}
    budget = Budget(config["steps"], stem.with_suffix(".jsonl"), every=25)
    budget.restore(load_state(stem, master, optimizers, average))
    model.to(dtype)
    master.publish(model)
    # one block is compiled once for each shape (lengths x text widths) and serves all blocks
    torch._dynamo.config.recompile_limit = 64
    model.compile_repeated_blocks(dynamic=False)
    while budget.goes_on():
        for optimizer, rate in zip(optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * budget.schedule(warmup_steps=60, hold=config["hold"])
        step = first_step + budget.step
        batch = films.draw(step)
        generator = torch.Generator().manual_seed(step)
        loss = flow_loss(model, batch, generator, dtype, config["sigma_shift"])
        loss.backward()
        master.collect(model)
        norm = nn.utils.clip_grad_norm_(master.parameters(), 1.0)
        if not math.isfinite(float(norm)):
            raise FloatingPointError(
                f"expected a finite gradient, got {float(norm)} at step {step} of {stem.name}"
            )
        for optimizer in optimizers:
            optimizer.step()
        master.publish(model)
        decay = min(config["ema"], (1 + budget.step) / (10 + budget.step))
        for value, weight in zip(average.values(), master.weights, strict=True):
            value.lerp_(weight.detach(), 1 - decay)
        budget.record(loss=float(loss.detach()), norm=float(norm))
        if budget.step % 100 == 0:
            save_state(stem, master, optimizers, budget.state(), average)
    save_state(stem, master, optimizers, budget.state(), average)
    return average
