"""Attention datasets whose block structure is known beforehand: what a statistic must find, and by how much."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from attnscope.errors import InputError
from attnscope.schema import Labels, build_dataset
from attnscope.shots import LatentPlan, ShotPlan


def example(*, contrast: float = 10.0, noise: float = 0.0, seed: int = 0) -> xr.Dataset:
    """Make a small dataset to try things on: two shots of three latent frames, three steps, four layers, two heads.

    Parameters
    ----------
    contrast, noise, seed
        As in :func:`block_attention`.

    Raises
    ------
    InputError
        A parameter is out of its range.

    Examples
    --------
    >>> dict(example().sizes)
    {'prompt': 1, 'step': 3, 'branch': 1, 'layer': 4, 'head': 2, 'query_frame': 6, 'key_frame': 6}
    """
    plan = ShotPlan.from_latent_frames([3], num_frames_latent=6, fps=16).to_latent()
    return block_attention(plan, contrast=contrast, noise=noise, seed=seed)


def block_attention(
    latent: LatentPlan,
    *,
    num_layers: int = 4,
    num_heads: int = 2,
    num_steps: int = 3,
    contrast: float = 10.0,
    locality: float = 0.0,
    noise: float = 0.0,
    first_frame_sink: float = 0.0,
    seed: int = 0,
) -> xr.Dataset:
    """Make attention that looks ``contrast`` times more at a frame of its own shot than at one of another shot.

    The weight of key frame k for query frame q is ``c * exp(-locality * |q - k|) * exp(noise * z)``, with c =
    ``contrast`` inside a shot and 1 across, z standard normal and independent; rows are divided by their sum.
    Then a share ``first_frame_sink`` of every row is moved to key frame 0. With noise, locality and sink 0,
    each probability inside a shot is exactly ``contrast`` times each one across, up to float32 rounding. One
    prompt, one branch; steps and layers differ by noise only.

    Parameters
    ----------
    latent : LatentPlan
        The shots.
    contrast : float
        Ratio inside to across, above 0; 1 is no structure.
    locality : float
        Decay per latent frame of distance; makes blocks without any shots.
    noise : float
        Standard deviation of the natural logarithm of the weights.
    first_frame_sink : float
        Share of each row given to key frame 0, from 0 to below 1.

    Raises
    ------
    InputError
        A parameter is out of its range.

    Examples
    --------
    >>> from attnscope.shots import ShotPlan
    >>> latent = ShotPlan.from_latent_frames([2], num_frames_latent=4, fps=16).to_latent()
    >>> block_attention(latent, contrast=4.0).mass[0, 0, 0, 0, 0].values.round(3).tolist()[0]
    [0.4000000059604645, 0.4000000059604645, 0.10000000149011612, 0.10000000149011612]
    """
    _require_ranges(contrast=contrast, locality=locality, noise=noise, first_frame_sink=first_frame_sink)
    _require_ranges(num_layers=num_layers, num_heads=num_heads, num_steps=num_steps)
    shape = (1, num_steps, 1, num_layers, num_heads, latent.num_frames, latent.num_frames)
    weights = _weights(latent, contrast, locality) * np.exp(
        noise * np.random.default_rng(seed).standard_normal(shape)
    )
    mass = weights / weights.sum(axis=-1, keepdims=True) * (1.0 - first_frame_sink)
    mass[..., 0] += first_frame_sink
    labels = Labels(
        prompts=["synthetic block attention"],
        seeds=[seed],
        steps=range(num_steps),
        timesteps=np.linspace(1000.0, 0.0, num_steps, endpoint=False).tolist(),
        sigmas=np.linspace(1.0, 0.0, num_steps, endpoint=False).tolist(),
        branches=["cond"],
        layers=range(1, num_layers + 1),
        modules=[f"blocks.{index}.attn1" for index in range(num_layers)],
        stages=[""] * num_layers,
        heads=range(num_heads),
        latent=latent,
    )
    facts = {
        "model_id": "synthetic",
        "contrast": contrast,
        "locality": locality,
        "noise": noise,
        "first_frame_sink": first_frame_sink,
    }
    return build_dataset(mass.astype(np.float32), labels, attrs=facts)


def _weights(latent: LatentPlan, contrast: float, locality: float) -> NDArray[np.float64]:
    shot = latent.shot_of_frame
    frame = np.arange(latent.num_frames)
    same_shot = shot[:, np.newaxis] == shot
    distance = np.abs(frame[:, np.newaxis] - frame)
    weights: NDArray[np.float64] = np.where(same_shot, contrast, 1.0) * np.exp(-locality * distance)
    return weights


def _require_ranges(**values: float) -> None:
    for name, value in values.items():
        # Beyond 50, exp() leaves float32's range and rows would lose their small entries.
        low, high = {"first_frame_sink": (0.0, 0.999), "contrast": (1e-6, 1e6)}.get(name, (0.0, 50.0))
        if name.startswith("num_"):
            low, high = 1, 1_000_000
        if not low <= value <= high:
            raise InputError(
                expected=f"{name} from {low:g} to {high:g}",
                got=f"{value:g}",
                where="in block_attention",
                remedy="choose a value in between",
            )
