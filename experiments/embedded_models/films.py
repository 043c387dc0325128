"""Stage 1: the films of the training set, drawn from seeds when they are needed; nothing is stored but latents."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

from attnscope.dataset import Scene, render, sample_scene


def film(seed: int, config: dict[str, Any]) -> Scene:
    """The film of a seed: its length and number of shots are drawn too."""
    rng = np.random.default_rng([seed, 2])
    num_frames = config["num_frames_long"] if rng.uniform() < config["share_long"] else config["num_frames"]
    num_shots = 1 + int(rng.choice(len(config["shots"]), p=config["shots"]))
    return sample_scene(seed, num_shots=num_shots, num_frames=num_frames, fps=config["fps"])


def _pixels(job: tuple[int, dict[str, Any]]) -> np.ndarray:
    seed, config = job
    return render(film(seed, config), height=config["height"], width=config["width"])


def draw_films(
    seeds: range, config: dict[str, Any], *, num_frames: int | None = None, processes: int = 1
) -> Iterator[np.ndarray]:
    """Draw the films of these seeds in order, uint8 (frames, height, width, 3), cut to ``num_frames`` where given."""
    jobs = [(seed, config) for seed in seeds]
    if processes == 1:
        clips: Iterator[np.ndarray] = map(_pixels, jobs)
        yield from (clip[:num_frames] for clip in clips)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from (clip[:num_frames] for clip in pool.map(_pixels, jobs, chunksize=32))
