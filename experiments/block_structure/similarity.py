"""Ask how far content alone goes: attention without a model, between latents (or pixels) that look alike.

    python experiments/block_structure/similarity.py [--out runs/block_structure] [--world plain] [--vae FOLDER]

Every token is a 2 x 2 patch of a film's latents, as the transformer takes them in. Query and key are that patch,
centred and of unit length; the only parameter is the temperature, chosen for the highest distance-removed r. Once with
the latents of wan-mini's autoencoder (or another), once with latents that cannot mix frames: principal components of
blocks of 4 frames x 8 x 8 pixels, as many channels. Both with and without the noise at which the claim is made. What
this reaches bounds what a model can reach by looking for what looks alike. Writes similarity.json.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from diffusers import AutoencoderKLWan
from run import HERE, films, measure
from torch import Tensor

import attnscope as scope
from attnscope.dataset import render, sample_scene
from attnscope_kernels import frame_mass

TEMPERATURES = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


def blocks(pixels: np.ndarray) -> Tensor:
    """Blocks of 4 frames x 8 x 8 pixels (T, h, w, 768) in [-1, 1]; the first frame stands still for four."""
    still = np.concatenate([np.repeat(pixels[:1], 3, axis=0), pixels])
    video = torch.from_numpy(still).float().div(127.5).sub(1)
    frames, height, width, colours = video.shape
    cut = video.reshape(frames // 4, 4, height // 8, 8, width // 8, 8, colours)
    return cut.permute(0, 2, 4, 1, 3, 5, 6).flatten(3)


def principal_components(
    config: dict[str, Any], channels: int, num_films: int = 100
) -> tuple[Tensor, Tensor]:
    """Mean and directions, scaled to unit variance, of blocks of films that are not among those measured."""
    world = config["films"]["world"]
    drawn = [render(sample_scene(seed, num_shots=1 + seed % 3, world=world)) for seed in range(num_films)]
    data = torch.cat([blocks(pixels).flatten(0, 2) for pixels in drawn])
    mean = data.mean(0)
    _, scale, directions = torch.pca_lowrank(data - mean, q=channels, center=False)
    return mean, directions / scale * len(data) ** 0.5


def encode(vae: Any, pixels: np.ndarray) -> Tensor:
    """Normalised latents of an autoencoder of Wan's kind, (T, h, w, channels)."""
    video = torch.from_numpy(pixels).permute(3, 0, 1, 2)[None].float().div(127.5).sub(1)
    with torch.no_grad():
        latents = vae.encode(video).latent_dist.mode()[0]
    mean, std = (torch.tensor(getattr(vae.config, f"latents_{name}")) for name in ("mean", "std"))
    return (latents.permute(1, 2, 3, 0) - mean) / std


def patches(latents: Tensor) -> Tensor:
    """Tokens as the transformer takes them in: 2 x 2 patches, (T, tokens, 64)."""
    frames, height, width, channels = latents.shape
    cut = latents.reshape(frames, height // 2, 2, width // 2, 2, channels)
    return cut.permute(0, 1, 3, 2, 4, 5).reshape(frames, -1, 4 * channels)


def similarity_maps(latents: list[Tensor], sigma: float, temperature: float) -> np.ndarray:
    """Frame mass (films, T, T) of patches that attend to patches by their cosine."""
    found = []
    for number, clip in enumerate(latents):
        noise = torch.randn(clip.shape, generator=torch.Generator().manual_seed(number))
        tokens = patches((1 - sigma) * clip + sigma * noise)
        offsets = tuple(range(0, tokens.shape[0] * tokens.shape[1] + 1, tokens.shape[1]))
        flat = torch.nn.functional.normalize(tokens.flatten(0, 1) - tokens.mean((0, 1)), dim=-1)[
            None, :, None
        ]
        mass = frame_mass(flat, flat, query_offsets=offsets, key_offsets=offsets, scale=temperature).mass
        found.append(mass[0, 0].numpy())
    return np.stack(found)


def as_dataset(maps: np.ndarray, plans: list[Any]) -> xr.Dataset:
    """Maps in the shape that the statistics read."""
    datasets = [
        scope.synthetic.block_attention(plan, num_layers=1, num_heads=1, num_steps=1, contrast=2.0)
        .drop_vars(["query_shot", "key_shot"])
        .assign_coords(prompt=[index])
        for index, plan in enumerate(plans)
    ]
    stacked = scope.schema.with_shots(xr.concat(datasets, "prompt"), plans)
    filled = np.broadcast_to(maps[:, None, None, None, None], stacked.mass.shape)
    return stacked.assign(mass=(stacked.mass.dims, filled)).assign_coords(sigma=("step", [0.0]))


def best(latents: list[Tensor], sigma: float, plans: list[Any]) -> dict[str, float]:
    """The statistics at the temperature of highest distance-removed r."""
    rows = []
    for temperature in TEMPERATURES:
        found = measure(as_dataset(similarity_maps(latents, sigma, temperature), plans), 1.0)
        names = ("adjusted_contrast", "adjusted_r", "contrast", "r", "r_distance_removed", "boundary_recall")
        rows.append({"temperature": temperature, **{name: found[name] for name in names}})
    return max(rows, key=lambda row: row["r_distance_removed"])


def main() -> None:
    """Encode, compare, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/block_structure"))
    parser.add_argument("--world", help="of the films; that of config.toml by default")
    parser.add_argument("--vae", type=Path, help="a folder with another autoencoder than wan-mini's")
    arguments = parser.parse_args()
    config = tomllib.loads((HERE / "config.toml").read_text())
    config["films"]["world"] = arguments.world or config["films"]["world"]
    vae = AutoencoderKLWan.from_pretrained(arguments.vae) if arguments.vae else scope.load("wan-mini").vae
    mean, directions = principal_components(config, vae.config.z_dim)
    results = {}
    for num_frames in config["films"]["num_frames"]:
        scenes = films(config, num_frames)
        drawn = [render(scene) for scene in scenes]
        plans = [scene.plan.to_latent() for scene in scenes]
        kinds = {
            "autoencoder": [encode(vae, pixels) for pixels in drawn],
            "principal components": [(blocks(pixels) - mean) @ directions for pixels in drawn],
        }
        for name, latents in kinds.items():
            for sigma in (0.0, 0.25, 0.5):
                row = best(latents, sigma, plans)
                results[f"{name}, {num_frames} frames, sigma {sigma:g}"] = row
                print(f"{name}, {num_frames} frames, sigma {sigma:g}: {row}", flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "similarity.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
