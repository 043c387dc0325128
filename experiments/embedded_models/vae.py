"""Stage 2: the video autoencoder (AutoencoderKLWan, causal, 4 x 8 x 8), trained on crops of procedural films."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from loop import Budget, load_state, save_state

CONFIG: dict[str, Any] = {
    "base_dim": 16,
    "decoder_base_dim": 24,
    "z_dim": 16,
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
    "latents_mean": [0.0] * 16,
    "latents_std": [1.0] * 16,
}


def decode_unclamped(vae: AutoencoderKLWan, latents: torch.Tensor) -> torch.Tensor:
    """Decode without the clamp of ``vae.decode``: a clamped pixel has no gradient."""
    from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify

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
    return unpatchify(torch.cat(frames, 2), patch_size=vae.config.patch_size)


def encode_moments(vae: AutoencoderKLWan, video: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and log-variance of the latents; ``_encode`` because down-sampling in time happens only there."""
    mean, logvar = vae._encode(video).chunk(2, dim=1)
    return mean, logvar.clamp(-20, 6)


def _crop_batch(
    films: np.ndarray, rng: np.random.Generator, config: dict[str, Any], size: int
) -> torch.Tensor:
    clips = []
    for _ in range(config["batch"] if size < films.shape[2] else max(1, config["batch"] // 4)):
        clip = films[rng.integers(len(films))]
        start = rng.integers(clip.shape[0] - config["num_frames"] + 1)
        y, x = rng.integers(clip.shape[1] - size + 1), rng.integers(clip.shape[2] - size + 1)
        clips.append(clip[start : start + config["num_frames"], y : y + size, x : x + size])
    return torch.from_numpy(np.stack(clips)).permute(0, 4, 1, 2, 3).float().div(127.5).sub(1)


def _loss(vae: AutoencoderKLWan, video: torch.Tensor, kl_weight: float) -> torch.Tensor:
    with torch.autocast("cpu" if not video.is_cuda else "cuda", dtype=torch.bfloat16):
        mean, logvar = encode_moments(vae, video)
        latents = mean + torch.randn_like(mean) * (0.5 * logvar).exp()
        decoded = decode_unclamped(vae, latents)
    error = decoded.float() - video
    gradient = sum(error.diff(dim=dim).abs().mean() for dim in (-1, -2))
    kl = 0.5 * (mean.float() ** 2 + logvar.float().exp() - 1 - logvar.float()).mean()
    return error.abs().mean() + 2 * (error**2).mean() + 0.5 * gradient + kl_weight * kl


def train_vae(
    films: np.ndarray, folder: Path, config: dict[str, Any], device: str = "cpu"
) -> AutoencoderKLWan:
    """Train within ``config["minutes"]`` and write ``folder/vae``; a killed run goes on from its last state."""
    torch.manual_seed(0)
    vae = AutoencoderKLWan(**CONFIG).to(device)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=config["lr"], betas=(0.9, 0.97), weight_decay=1e-3)
    budget = Budget(config["minutes"], log=folder / "vae.jsonl", every=25)
    budget.restore(load_state(folder / "vae_state", vae, optimizer))
    while budget.goes_on():
        full = budget.progress > 0.72
        rng = np.random.default_rng([1, budget.step])
        video = _crop_batch(films, rng, config, films.shape[2] if full else config["crop"]).to(device)
        for group in optimizer.param_groups:
            group["lr"] = config["lr"] * budget.schedule(warmup_steps=50, hold=0.3)
        loss = _loss(vae, video, config["kl"])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        budget.record(loss=float(loss.detach()))
        if budget.step % 200 == 0:
            save_state(folder / "vae_state", vae, optimizer, budget.state())
    return vae


@torch.no_grad()
def fit_latent_scale(vae: AutoencoderKLWan, clips: torch.Tensor) -> None:
    """Set latents_mean and latents_std, by which the pipeline normalises latents."""
    mean, _ = encode_moments(vae, clips)
    vae.register_to_config(
        latents_mean=mean.mean(dim=(0, 2, 3, 4)).tolist(), latents_std=mean.std(dim=(0, 2, 3, 4)).tolist()
    )


@torch.no_grad()
def psnr_db(vae: AutoencoderKLWan, clips: torch.Tensor) -> float:
    """Reconstruction quality on clips in [-1, 1], peak 2."""
    mean, _ = encode_moments(vae, clips)
    error = F.mse_loss(vae.decode(mean).sample, clips)
    return 10 * math.log10(4 / float(error))
