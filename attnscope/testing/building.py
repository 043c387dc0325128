"""What all tiny models share: the same seed gives the same weights, and a run takes a blink."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch

TinyPipeline = Any
"""A pipeline of diffusers, whose classes have no types."""


def seed_weights(build: Callable[..., TinyPipeline]) -> Callable[..., TinyPipeline]:
    """Build with the weights that belong to `seed`, leaving the global generator alone; hush the progress bar."""

    @functools.wraps(build)
    def build_seeded(*args: object, seed: int = 0, **changes: object) -> TinyPipeline:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            pipe = build(*args, **changes)
        for part in pipe.components.values():
            if isinstance(part, torch.nn.Module):
                part.eval()
        pipe.set_progress_bar_config(disable=True)
        return pipe

    return build_seeded


def small_settings(**settings: object) -> dict[str, object]:
    """The arguments of a small run: two steps, latents instead of pictures."""
    return {
        "prompt": "two shots a red ball on the beach",
        "num_inference_steps": 2,
        "output_type": "latent",
        **settings,
    }


def picture(height: int, width: int) -> object:
    """Return a picture to begin a video with."""
    image = import_module("PIL.Image")
    return image.new("RGB", (width, height), (200, 60, 30))


def picture_vae() -> object:
    """Return a VAE for single pictures that does not shrink them."""
    diffusers = import_module("diffusers")
    return diffusers.AutoencoderKL(
        block_out_channels=(8,),
        norm_num_groups=2,
        latent_channels=4,
        down_block_types=("DownEncoderBlock2D",),
        up_block_types=("UpDecoderBlock2D",),
    )


def wan_vae() -> object:
    """Return the VAE of Wan, thinned out: one latent frame holds 4 frames, one element 8 x 8 pixels."""
    diffusers = import_module("diffusers")
    return diffusers.AutoencoderKLWan(base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1)


def picture_encoder() -> dict[str, object]:
    """Return what reads the picture that a video begins with: a CLIP vision model of two layers and its processor."""
    transformers = import_module("transformers")
    config = transformers.CLIPVisionConfig(
        hidden_size=4,
        projection_dim=4,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        intermediate_size=16,
        patch_size=16,
    )
    return {
        "image_encoder": transformers.CLIPVisionModel(config),
        "image_processor": transformers.CLIPImageProcessor(crop_size=32, size=32),
    }
