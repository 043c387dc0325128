"""What all tiny models share: the same seed gives the same weights, and a run takes a blink."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch

Built = Any
"""A pipeline of diffusers, whose classes have no types."""


def seeded(build: Callable[..., Built]) -> Callable[..., Built]:
    """Build with the weights that belong to `seed`, leaving the global generator alone; hush the progress bar."""

    @functools.wraps(build)
    def built(*args: Any, seed: int = 0, **changes: Any) -> Built:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            pipe = build(*args, **changes)
        for part in pipe.components.values():
            if isinstance(part, torch.nn.Module):
                part.eval()
        pipe.set_progress_bar_config(disable=True)
        return pipe

    return built


def small_settings(**settings: Any) -> dict[str, Any]:
    """The arguments of a small run: two steps, latents instead of pictures."""
    return {
        "prompt": "two shots a red ball on the beach",
        "num_inference_steps": 2,
        "output_type": "latent",
        **settings,
    }


def picture(height: int, width: int) -> Any:
    """Return a picture to begin a video with."""
    image: Any = import_module("PIL.Image")
    return image.new("RGB", (width, height), (200, 60, 30))
