"""What a denoiser is asked in training: how much noise a film gets, what the answer should be, how much it counts.

Legend: B films, x clean latents, n noise, s the noise level (0 clean, 1 only noise), t what the denoiser is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from attnscope.errors import InputError, UnsupportedModelError, quote
from attnscope.families.protocols import Pipeline
from attnscope.training.recipe import Recipe

_MIN_SNR = 5.0  # gamma of Hang et al. 2023, as published
_GRID = 1000


class Objective(Protocol):
    """One way to train a denoiser."""

    def level(self, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Return timesteps and noise levels (B,) for numbers drawn evenly from 0 to 1."""

    def question(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the denoiser is shown, and what it should answer."""

    def weight(self, timesteps: Tensor) -> Tensor:
        """Return how much each film counts (B,); 1 on average over all noise levels."""


@dataclass(frozen=True)
class Flow:
    """Flow matching: shown (1 - s) x + s n at t = 1000 s, to answer n - x, the direction from film to noise.

    s = shift u / (1 + (shift - 1) u) with u even: the noise levels that the pipeline itself visits. ``bell`` weighs
    with exp(-2 (s - 1/2)^2) less its smallest value, as Wan is trained. ``low`` and ``high`` bound the levels where a
    pipeline has one denoiser for high noise and one for low.
    """

    shift: float = 1.0
    bell: bool = False
    low: float = 0.0
    high: float = 1.0

    def level(self, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Return timesteps and noise levels for even numbers."""
        low, high = (s / (self.shift - (self.shift - 1) * s) for s in (self.low, self.high))
        spread = low + (high - low) * uniform.double()
        sigmas = self.shift * spread / (1 + (self.shift - 1) * spread)
        return 1000 * sigmas, sigmas

    def question(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """Return the film under noise, and the velocity."""
        sigmas = _each(timesteps, clean) / 1000
        return (1 - sigmas) * clean + sigmas * noise, noise - clean

    def weight(self, timesteps: Tensor) -> Tensor:
        """Return the bell over noise levels, or 1."""
        if not self.bell:
            return torch.ones_like(timesteps)
        _, grid = self.level(torch.arange(1, _GRID + 1, dtype=torch.float64) / _GRID)
        of_grid, of_films = (torch.exp(-2 * (each.double() - 0.5) ** 2) for each in (grid, timesteps / 1000))
        least = of_grid.min()
        return ((of_films - least) / (of_grid - least).mean().to(of_films)).clamp_min(0).to(timesteps)


@dataclass(frozen=True)
class Epsilon:
    """Denoising as in DDPM: shown a x + s n at one of 1000 even timesteps, to answer n (or the velocity a n - s x).

    ``kept`` is the share of the film's variance that is left at each timestep, a squared.
    """

    kept: tuple[float, ...]
    velocity: bool = False
    min_snr: bool = False

    def level(self, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Return whole timesteps, each as likely, and their noise levels."""
        timesteps = (uniform.double() * len(self.kept)).long().clamp_max(len(self.kept) - 1)
        return timesteps, (1 - self._share_kept(timesteps)).sqrt()

    def question(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """Return the film under noise, and the noise or the velocity."""
        kept = _each(self._share_kept(timesteps), clean)
        film, grain = kept.sqrt(), (1 - kept).sqrt()
        target = film * noise - grain * clean if self.velocity else noise
        return film * clean + grain * noise, target

    def weight(self, timesteps: Tensor) -> Tensor:
        """Return min(SNR, 5) / SNR (for the velocity, / (SNR + 1)), or 1."""
        kept = self._share_kept(timesteps)
        if not self.min_snr:
            return torch.ones_like(kept)
        snr = kept / (1 - kept)
        return snr.clamp_max(_MIN_SNR) / (snr + 1 if self.velocity else snr)

    def _share_kept(self, timesteps: Tensor) -> Tensor:
        return torch.tensor(self.kept, dtype=torch.float64, device=timesteps.device)[timesteps.long()]


def objective_of(
    pipe: Pipeline, recipe: Recipe, *, by_flow: bool, bounds: tuple[float, float] = (0.0, 1.0)
) -> Objective:
    """Return the objective that a pipeline's scheduler was made for, with the weighting of the recipe.

    Raises
    ------
    InputError
        A weighting or shift that belongs to another objective.
    UnsupportedModelError
        The scheduler asks the denoiser for something else.
    """
    config = pipe.scheduler.config
    if by_flow:
        if recipe.weighting == "min-snr":
            _refuse(recipe.weighting, "weighting none or bell for a model of flow matching")
        own = next((config[name] for name in ("flow_shift", "shift") if config.get(name)), 1.0)
        shift = float(own) if recipe.shift is None else recipe.shift
        return Flow(shift, recipe.weighting in ("family", "bell"), *bounds)
    if recipe.weighting == "bell" or recipe.shift is not None:
        _refuse("bell or a shift", "weighting none or min-snr, and no shift, for a model that predicts noise")
    kind = config.get("prediction_type", "epsilon")
    kept = getattr(pipe.scheduler, "alphas_cumprod", None)
    if kind not in ("epsilon", "v_prediction") or kept is None:
        raise UnsupportedModelError(
            expected="a scheduler for epsilon or v_prediction",
            got=f"{type(pipe.scheduler).__name__} for {quote(kind)}",
            where="in a pipeline to train",
            remedy="give the pipeline a DDIMScheduler",
        )
    return Epsilon(tuple(kept.double().tolist()), kind == "v_prediction", recipe.weighting == "min-snr")


def weighted_error(answer: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Return the mean over films of their weighed mean squared errors, in float32 or more."""
    wide = torch.promote_types(answer.dtype, torch.float32)
    errors = (answer.to(wide) - target.to(wide)).square().flatten(1).mean(1)
    return (weights.to(errors) * errors).mean()


def _each(numbers: Tensor, like: Tensor) -> Tensor:
    return numbers.to(like).reshape(-1, *[1] * (like.ndim - 1))


def _refuse(got: str, expected: str) -> None:
    raise InputError(
        expected=expected,
        got=got,
        where="in a recipe",
        remedy="leave it at family, what the model was trained with",
    )
