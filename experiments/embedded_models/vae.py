"""Stage 2: the video autoencoder (AutoencoderKLWan, 4 x 8 x 8), which keeps nothing of the shot before a cut.

Wan's convolutions look back in time: each sees the two frames before, over the border of a latent frame too, so the
first latent frames of a shot remember the shot before. Here every weight that looks back over that border is zero. What
is left mixes the four video frames of a latent frame and no others, in encoder and decoder, so the frames after a cut
are the same whatever came before, and what attention shows across a cut is the transformer's doing. The files are those
of an ordinary AutoencoderKLWan.

Legend: B films, C channels, T frames, H W height and width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders import autoencoder_kl_wan
from loop import Budget, load_state, save_state
from muon import ConvolutionMuon

CONFIG: dict[str, Any] = {
    "base_dim": 16,
    "decoder_base_dim": 24,
    "dim_mult": [1, 2, 2],
    "num_res_blocks": 1,
    "attn_scales": [],
    "temperal_downsample": [True, True],
    "in_channels": 12,
    "out_channels": 12,
    "patch_size": 2,
    "is_residual": True,
    "scale_factor_temporal": 4,
    "scale_factor_spatial": 8,
}

Convolution = autoencoder_kl_wan.WanCausalConv3d


def build_vae(channels: int) -> AutoencoderKLWan:
    """A fresh autoencoder with this many latent channels, without memory."""
    vae = AutoencoderKLWan(
        **CONFIG, z_dim=channels, latents_mean=[0.0] * channels, latents_std=[1.0] * channels
    )
    forget(vae)
    return vae


@torch.no_grad()
def forget(vae: AutoencoderKLWan) -> None:
    """Zero every weight that looks back from one latent frame into the one before."""
    for layer in vae.modules():
        if isinstance(layer, Convolution) and layer.kernel_size[0] == 3:
            # The halving of time reads (frame before, first, second): only the frame before is another latent frame's.
            layer.weight[:, :, : 1 if layer.stride[0] == 2 else 2] = 0


def _without_memory(layer: Convolution, video_BCTHW: torch.Tensor, _: Any = None) -> torch.Tensor:
    """What a causal convolution computes once its memory is zero, in two dimensions, at half the cost or less."""
    if layer.stride[0] == 2:
        return F.conv3d(video_BCTHW[:, :, 1:], layer.weight[:, :, 1:], layer.bias, stride=layer.stride)
    batch, _, frames, height, width = video_BCTHW.shape
    pictures = video_BCTHW.transpose(1, 2).flatten(0, 1)
    pictures = F.conv2d(pictures, layer.weight[:, :, -1], layer.bias, padding=layer._padding[0])
    return pictures.view(batch, frames, -1, height, width).transpose(1, 2)


@contextmanager
def quick_convolutions() -> Iterator[None]:
    """Leave out the zero weights while training; they get no gradient and stay zero."""
    before = Convolution.forward
    Convolution.forward = _without_memory
    try:
        yield
    finally:
        Convolution.forward = before


def decode_unclamped(vae: AutoencoderKLWan, latents: torch.Tensor) -> torch.Tensor:
    """Decode without the clamp of ``vae.decode``: a clamped pixel has no gradient."""
    vae.clear_cache()
    x = vae.post_quant_conv(latents)
    frames = []
    for i in range(latents.shape[2]):
        vae._conv_idx = [0]
        frames.append(
            vae.decoder(
                x[:, :, i : i + 1], feat_cache=vae._feat_map, feat_idx=vae._conv_idx, first_chunk=i == 0
            )
        )
    vae.clear_cache()
    return autoencoder_kl_wan.unpatchify(torch.cat(frames, 2), patch_size=vae.config.patch_size)


def encode_moments(vae: AutoencoderKLWan, video: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and log-variance of the latents; ``_encode`` because down-sampling in time happens only there."""
    mean, logvar = vae._encode(video).chunk(2, dim=1)
    return mean, logvar.clamp(-20, 6)


@torch.no_grad()
def encode_film(vae: AutoencoderKLWan, pixels: np.ndarray) -> torch.Tensor:
    """Mean of the latents (C, T, H / 8, W / 8) of a film, uint8; all side by side, since none remembers another."""
    clips = np.stack([pixels[start : start + 5] for start in range(0, len(pixels) - 1, 4)])
    video = torch.from_numpy(clips).permute(0, 4, 1, 2, 3).to(vae.dtype).div(127.5).sub(1)
    with quick_convolutions():
        latents = encode_moments(vae, video)[0].float()
    return torch.cat([latents[:1, :, 0], latents[:, :, 1]]).transpose(0, 1).contiguous()


def _draw_clips(films: np.ndarray, rng: np.random.Generator, batch: int) -> torch.Tensor:
    """Clips of two latent frames: a single picture, then four frames of another film; so every clip has a cut."""
    clips = []
    for _ in range(batch):
        first, second = films[rng.integers(len(films), size=2)]
        start = 1 + 4 * rng.integers((len(second) - 1) // 4)
        clips.append(np.concatenate([first[rng.integers(len(first))][None], second[start : start + 4]]))
    return torch.from_numpy(np.stack(clips)).permute(0, 4, 1, 2, 3).float().div(127.5).sub(1)


def _loss(vae: AutoencoderKLWan, video: torch.Tensor, kl_weight: float) -> torch.Tensor:
    with torch.autocast(video.device.type, dtype=torch.bfloat16):
        mean, logvar = encode_moments(vae, video)
        latents = mean + torch.randn_like(mean) * (0.5 * logvar).exp()
        decoded = decode_unclamped(vae, latents)
    error = decoded.float() - video
    gradient = sum(error.diff(dim=dim).abs().mean() for dim in (-1, -2))
    kl = 0.5 * (mean.float() ** 2 + logvar.float().exp() - 1 - logvar.float()).mean()
    return error.abs().mean() + 2 * (error**2).mean() + 0.5 * gradient + kl_weight * kl


def build_optimizers(vae: AutoencoderKLWan, config: dict[str, Any]) -> list[torch.optim.Optimizer]:
    """Muon for the convolutions, AdamW for everything else."""
    weights = list(vae.parameters())
    return [
        ConvolutionMuon([weight for weight in weights if weight.ndim >= 4], lr=config["lr_matrix"]),
        torch.optim.AdamW(
            [weight for weight in weights if weight.ndim < 4], lr=config["lr_other"], betas=(0.9, 0.97)
        ),
    ]


def train_vae(films: np.ndarray, folder: Path, config: dict[str, Any]) -> AutoencoderKLWan:
    """Train for ``config["steps"]``; a killed run goes on from its last state."""
    torch.manual_seed(0)
    vae = build_vae(config["channels"])
    optimizers = build_optimizers(vae, config)
    rates = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    budget = Budget(config["steps"], log=folder / "vae.jsonl", every=25)
    budget.restore(load_state(folder / "vae_state", vae, optimizers))
    with quick_convolutions():
        while budget.goes_on():
            video = _draw_clips(films, np.random.default_rng([1, budget.step]), config["batch"])
            torch.manual_seed(budget.step)
            for optimizer, rate in zip(optimizers, rates, strict=True):
                optimizer.param_groups[0]["lr"] = rate * budget.schedule(warmup_steps=50, hold=0.3)
            loss = _loss(vae, video, config["kl"])
            vae.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
            budget.record(loss=float(loss.detach()))
            if budget.step % 100 == 0:
                save_state(folder / "vae_state", vae, optimizers, budget.state())
    return vae


@torch.no_grad()
def fit_latent_scale(vae: AutoencoderKLWan, clips: torch.Tensor) -> None:
    """Set latents_mean and latents_std, by which the pipeline normalises latents."""
    mean, _ = encode_moments(vae, clips)
    vae.register_to_config(
        latents_mean=mean.mean(dim=(0, 2, 3, 4)).tolist(), latents_std=mean.std(dim=(0, 2, 3, 4)).tolist()
    )


@torch.no_grad()
def psnr_db(vae: AutoencoderKLWan, clips: torch.Tensor) -> torch.Tensor:
    """Reconstruction quality of each film and frame, (B, T), of films in [-1, 1], peak 2."""
    mean, _ = encode_moments(vae, clips)
    error = (vae.decode(mean).sample - clips).square().mean(dim=(1, 3, 4))
    return 10 * torch.log10(4 / error)
