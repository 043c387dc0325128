"""Stage 1: the films of the training set, drawn from seeds when they are needed; nothing is stored but latents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from attnscope.dataset import Scene, render, sample_scene


def film(seed: int, config: dict[str, Any]) -> Scene:
    """The film of a seed: its length and number of shots are drawn too."""
    rng = np.random.default_rng([seed, 2])
    num_frames = config["num_frames_long"] if rng.uniform() < config["share_long"] else config["num_frames"]
    num_shots = 1 + int(rng.choice(len(config["shots"]), p=config["shots"]))
    return sample_scene(
        seed,
        num_shots=num_shots,
        num_frames=num_frames,
        fps=config["fps"],
        stride=config["stride"],
        min_shot_latent_frames=config["shortest_shot"],
        world=config["world"],
    )


def retaken(seed: int, config: dict[str, Any]) -> Scene:
    """A film whose shots have the same caption: one view, filmed again from elsewhere. What a mask should make."""
    rng = np.random.default_rng([seed, 4])
    scene = film(seed, config | {"shots": [0.0, 0.7, 0.3]})
    views = [
        replace(scene.views[0], phase=float(rng.uniform()), start=tuple(rng.uniform(-0.4, 0.4, 2).tolist()))
        for _ in scene.views
    ]
    return replace(scene, views=tuple(views))


def draw(scene: Scene, config: dict[str, Any]) -> np.ndarray:
    """The frames of a film, uint8 (frames, height, width, 3)."""
    return render(scene, height=config["height"], width=config["width"])


def still(seed: int, config: dict[str, Any]) -> Scene:
    """A film of a single picture: as much variety as there are seeds, for the price of one frame each."""
    return sample_scene(seed, num_shots=1, num_frames=1, min_shot_latent_frames=1, world=config["world"])


def draw_films(
    seeds: range, config: dict[str, Any], *, num_frames: int | None = None
) -> Iterator[np.ndarray]:
    """Draw the films of these seeds in order, cut to ``num_frames`` where given."""
    for seed in seeds:
        yield draw(film(seed, config), config)[:num_frames]
