"""`unet-mini`: LaVie's UNet in small, on latents of single pictures, so that a cut can fall on any frame.

Three resolutions, so that the last two on the way up hold three attentions over time each: the last six that run are
those that CineTrans-UNet masks. It learns pictures first, then films; there two variants part ways, films of one shot
and films with cuts. When films begin, every attention over time before the last six looks at its own frame, so it is
the last six that learn to hold frames together. The denoiser says the velocity (v-prediction) under the noise schedule
of LaVie, brought to zero signal at its end.

Legend: B films, T frames, C channels, H W height and width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler
from films import draw, film, still
from loop import Budget, load_state, save_state
from muon import ConvolutionMuon
from safetensors.torch import load_file, save_file
from text import build_tokenizer, train_text
from torch import nn
from transformers import T5Tokenizer, UMT5EncoderModel

from attnscope.dataset import Scene
from attnscope.models.lavie import LaViePipeline, LaVieUNet
from attnscope.models.lavie.temporal import RelativePositionBias

SHARD = 250
LAST = 6
"""Attentions over time in the last two resolutions on the way up, which CineTrans-UNet masks."""

SHARED = "unet-pictures"
"""What both variants begin with."""


def scheduler() -> DDIMScheduler:
    """The noise levels that are trained on and sampled with."""
    return DDIMScheduler(
        beta_start=1e-4,
        beta_end=0.02,
        beta_schedule="linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
    )


def build_picture_vae(config: dict[str, Any]) -> AutoencoderKL:
    """An autoencoder of single pictures, 8 x 8."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 32, 32),
        layers_per_block=1,
        latent_channels=config["channels"],
        norm_num_groups=8,
        sample_size=64,
        mid_block_add_attention=False,
    )


def build_unet(config: dict[str, Any], text_width: int) -> LaVieUNet:
    """A fresh denoiser."""
    return LaVieUNet(
        sample_size=8,
        in_channels=config["channels"],
        out_channels=config["channels"],
        block_out_channels=config["widths"],
        layers_per_block=2,
        num_heads=4,
        text_width=text_width,
        num_groups=8,
    )


def build_optimizers(module: nn.Module, config: dict[str, Any]) -> list[torch.optim.Optimizer]:
    """Muon for matrices and convolutions, AdamW for everything else."""
    named = list(module.named_parameters())
    matrix = [weight for name, weight in named if weight.ndim >= 2 and "bias" not in name]
    others = [weight for name, weight in named if not (weight.ndim >= 2 and "bias" not in name)]
    return [
        ConvolutionMuon(matrix, lr=config["lr_matrix"]),
        torch.optim.AdamW(others, lr=config["lr_other"], betas=(0.9, 0.98)),
    ]


def as_video(pixels: np.ndarray) -> torch.Tensor:
    """Pictures (N, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def train_picture_vae(
    pictures: np.ndarray, folder: Path, config: dict[str, Any], recipe: dict[str, Any]
) -> AutoencoderKL:
    """Train on single pictures (N, H, W, 3); a killed run goes on from its last state."""
    torch.manual_seed(5)
    vae = build_picture_vae(config)
    optimizers = build_optimizers(vae, recipe)
    budget = Budget(recipe["steps"], folder / "picture_vae.jsonl", every=25)
    budget.restore(load_state(folder / "picture_vae_state", vae, optimizers))
    while budget.goes_on():
        rng = np.random.default_rng([9, budget.step])
        torch.manual_seed(budget.step)
        shown = as_video(pictures[rng.integers(len(pictures), size=recipe["batch"])])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            latents = vae.encode(shown).latent_dist
            decoded = vae.decode(latents.sample()).sample
        error = decoded.float() - shown
        gradient = sum(error.diff(dim=dim).abs().mean() for dim in (-1, -2))
        loss = error.abs().mean() + 2 * error.square().mean() + 0.5 * gradient
        loss = loss + recipe["kl"] * latents.kl().float().mean() / latents.mean[0].numel()
        _descend(vae, optimizers, loss, recipe, budget)
        if budget.step % 100 == 0:
            save_state(folder / "picture_vae_state", vae, optimizers, budget.state())
    return vae.eval()


def _descend(
    module: nn.Module, optimizers: list[Any], loss: torch.Tensor, recipe: dict[str, Any], budget: Budget
) -> None:
    factor = budget.schedule(warmup_steps=50, hold=recipe["hold"])
    for optimizer, rate in zip(optimizers, (recipe["lr_matrix"], recipe["lr_other"]), strict=True):
        optimizer.param_groups[0]["lr"] = rate * factor
    module.zero_grad(set_to_none=True)
    loss.backward()
    norm = float(nn.utils.clip_grad_norm_(module.parameters(), 1.0))
    if not math.isfinite(norm):
        raise FloatingPointError(f"expected a finite gradient, got {norm} at step {budget.step}")
    for optimizer in optimizers:
        optimizer.step()
    budget.record(loss=float(loss.detach()))


@torch.no_grad()
def encode_pictures(vae: AutoencoderKL, pixels: np.ndarray) -> torch.Tensor:
    """Latents (C, T, H / 8, W / 8) of a film, as the pipeline scales them."""
    return (vae.encode(as_video(pixels)).latent_dist.mode() * vae.config.scaling_factor).transpose(0, 1)


def encode_scenes(
    vae: AutoencoderKL, folder: Path, films: dict[str, Any], scene_of: Callable[[int], Scene], num: int
) -> dict[int, torch.Tensor]:
    """Latents of the first scenes by number; shards that are there are read."""
    folder.mkdir(exist_ok=True)
    clips: dict[int, torch.Tensor] = {}
    for start in range(0, num, SHARD):
        path = folder / f"{start:06d}.safetensors"
        if not path.exists():
            drawn = {str(number): draw(scene_of(number), films) for number in range(start, start + SHARD)}
            latents = {name: encode_pictures(vae, f).half().contiguous() for name, f in drawn.items()}
            save_file(latents, path.with_suffix(".partial"))
            path.with_suffix(".partial").replace(path)
        clips |= {int(name): value for name, value in load_file(path).items()}
    return clips


class Captions:
    """Embeds captions as LaVie's pipeline does: padded to the tokenizer's length, the padding read like text."""

    def __init__(self, tokenizer: T5Tokenizer, encoder: UMT5EncoderModel) -> None:
        self.tokenizer, self.encoder = tokenizer, encoder
        self._known: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def embed(self, caption: str) -> torch.Tensor:
        """Token embeddings (tokens, width)."""
        if caption not in self._known:
            tokens = self.tokenizer(
                caption, padding="max_length", max_length=self.tokenizer.model_max_length, return_tensors="pt"
            )
            self._known[caption] = self.encoder(tokens.input_ids)[0][0].half()
        return self._known[caption].float()


@torch.no_grad()
def look_at_own_frame(unet: LaVieUNet, bias: float) -> None:
    """Let every attention over time but the last six to run begin with its own frame, by its bias for no distance."""
    # registered as they run: down, middle, up
    layers = [each for each in unet.modules() if isinstance(each, RelativePositionBias)]
    for layer in layers[:-LAST]:
        layer.relative_attention_bias.weight[0] += bias


def train_unet(
    unet: LaVieUNet,
    clips: dict[int, torch.Tensor],
    said: Callable[[int], str],
    captions: Captions,
    stem: Path,
    recipe: dict[str, Any],
) -> dict[str, torch.Tensor]:
    """Train the steps of one stage; returns the averaged weights. A killed run goes on from its last state."""
    optimizers = build_optimizers(unet, recipe)
    average = {name: weight.detach().clone() for name, weight in unet.named_parameters()}
    budget = Budget(recipe["steps"], stem.with_suffix(".jsonl"), every=25)
    budget.restore(load_state(stem, unet, optimizers, average))
    signal = scheduler().alphas_cumprod.float()
    numbers = list(clips)
    while budget.goes_on():
        rng = np.random.default_rng([recipe["draws"], budget.step])
        generator = torch.Generator().manual_seed(budget.step)
        chosen = [int(numbers[i]) for i in rng.integers(len(numbers), size=recipe["batch"])]
        clean = torch.stack([clips[number].float() for number in chosen])
        texts = ["" if rng.uniform() < recipe["text_dropout"] else said(number) for number in chosen]
        # more of the noise levels at which a shape is still recognised: half of LaVie's are nearly pure noise
        uniform = torch.rand(len(clean), generator=generator)
        timestep = (len(signal) * uniform ** recipe["timestep_power"]).long()
        share = signal[timestep][:, None, None, None, None]
        noise = torch.randn(clean.shape, generator=generator)
        noised = share.sqrt() * clean + (1 - share).sqrt() * noise
        velocity = share.sqrt() * noise - (1 - share).sqrt() * clean
        text = torch.stack([captions.embed(each) for each in texts])
        # In float32: its matrices are so small that the casts to bfloat16 cost more than they save.
        predicted = unet(noised, timestep, text, return_dict=False)[0]
        _descend(unet, optimizers, (predicted - velocity).square().mean(), recipe, budget)
        decay = min(recipe["ema"], (1 + budget.step) / (10 + budget.step))
        for value, weight in zip(average.values(), unet.parameters(), strict=True):
            value.lerp_(weight.detach(), 1 - decay)
        if budget.step % 100 == 0:
            save_state(stem, unet, optimizers, budget.state(), average)
    save_state(stem, unet, optimizers, budget.state(), average)
    return average


@torch.no_grad()
def fit_scaling(vae: AutoencoderKL, pictures: np.ndarray) -> None:
    """Set the factor that brings latents to unit variance."""
    vae.register_to_config(scaling_factor=1 / float(vae.encode(as_video(pictures)).latent_dist.mode().std()))


def unet_stage(work: Path, config: dict[str, Any], name: str) -> None:
    """Train one variant; autoencoder, text encoder, latents and the stage of pictures are shared by both.

    What is done is skipped, so that the second variant can train beside the first once the shared parts are there.
    """
    if (work / name).exists():
        return
    recipe = config["unet"]
    films = config["films"] | recipe["films"]
    if not (work / "picture_vae").exists():
        some = np.concatenate([draw(film(seed, films), films) for seed in range(recipe["vae"]["num_films"])])
        vae = train_picture_vae(some, work, recipe, recipe["vae"])
        fit_scaling(vae, some[:1024])
        vae.save_pretrained(work / "picture_vae")
    vae = AutoencoderKL.from_pretrained(work / "picture_vae").eval().requires_grad_(False)
    tokenizer = build_tokenizer(films["world"])
    tokenizer.model_max_length = recipe["text_length"]
    folder = work / "unet_text"
    if not (folder / "text_encoder").exists():
        encoder = train_text(folder, films, config["text"], padded_to=recipe["text_length"])
        encoder.save_pretrained(folder / "text_encoder")
        tokenizer.save_pretrained(folder / "tokenizer")
    encoder = UMT5EncoderModel.from_pretrained(folder / "text_encoder").eval().requires_grad_(False)
    captions = Captions(tokenizer, encoder)
    pictures, moving = (recipe | stage for stage in recipe["stages"])
    if not (work / SHARED).exists():
        stills = encode_scenes(
            vae,
            work / "unet_stills",
            films,
            lambda number: still(pictures["first_seed"] + number, films),
            pictures["num_clips"],
        )
        torch.manual_seed(6)
        unet = build_unet(recipe, encoder.config.d_model)

        def said(number: int) -> str:
            return still(pictures["first_seed"] + number, films).caption("none")

        average = train_unet(unet, stills, said, captions, work / f"{SHARED}-state", pictures)
        unet.load_state_dict(average, strict=False)
        unet.save_pretrained(work / SHARED)
    clips = encode_scenes(
        vae, work / "unet_latents", films, lambda seed: film(seed, films), moving["num_clips"]
    )
    scenes = {seed: film(seed, films) for seed in clips}
    if name == "unet-mini-nocuts":
        clips = {seed: clip for seed, clip in clips.items() if len(scenes[seed].views) == 1}
    unet = LaVieUNet.from_pretrained(work / SHARED)
    look_at_own_frame(unet, moving["own_frame_bias"])
    average = train_unet(
        unet, clips, lambda seed: scenes[seed].caption("none"), captions, work / f"{name}-state", moving
    )
    unet.load_state_dict(average, strict=False)
    unet.save_pretrained(work / name)


def unet_pipeline(work: Path, name: str) -> LaViePipeline:
    """A trained variant with all its parts."""
    return LaViePipeline(
        vae=AutoencoderKL.from_pretrained(work / "picture_vae"),
        text_encoder=UMT5EncoderModel.from_pretrained(work / "unet_text" / "text_encoder"),
        tokenizer=T5Tokenizer.from_pretrained(work / "unet_text" / "tokenizer"),
        unet=LaVieUNet.from_pretrained(work / name),
        scheduler=scheduler(),
    )
