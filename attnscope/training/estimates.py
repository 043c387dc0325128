"""What a training run will cost, said before it begins: weights, memory, seconds a step."""

from __future__ import annotations

import time
from dataclasses import dataclass

from attnscope.training.batches import Assembly, Place
from attnscope.training.forward import TrainingForward
from attnscope.training.journal import peak_memory_gib
from attnscope.training.recipe import Recipe

_MINUTE_S, _HOUR_S = 60, 3600
_STATES = {"adamw": 8, "adamw8bit": 2}  # bytes of optimiser a weight


@dataclass(frozen=True)
class Estimate:
    """The cost of a run on this machine.

    ``weights_gib`` is all of the denoiser, ``states_gib`` gradients, optimiser and average of what is trained; both by
    arithmetic. ``peak_memory_gib`` (of the whole process, or of the GPU) and ``step_s`` are measured: one batch forward
    and backward, after one that warms up.
    """

    num_trained: int
    num_weights: int
    weights_gib: float
    states_gib: float
    peak_memory_gib: float
    step_s: float
    total_s: float

    def describe(self) -> str:
        """Say it in a line.

        >>> Estimate(10**6, 10**9, 3.7, 0.02, 9.5, 2.0, 7200.0).describe()  # doctest: +NORMALIZE_WHITESPACE
        '1,000,000 of 1,000,000,000 weights are trained; 3.7 GiB of weights and 20 MiB of states, 9.5 GiB at the peak;
        2.0 s a step, forward and backward, 2.0 h in all'
        """
        return (
            f"{self.num_trained:,} of {self.num_weights:,} weights are trained; {_memory(self.weights_gib)} of weights "
            f"and {_memory(self.states_gib)} of states, {_memory(self.peak_memory_gib)} at the peak; "
            f"{_time(self.step_s)} a step, forward and backward, {_time(self.total_s)} in all"
        )


def _memory(gib: float) -> str:
    return f"{gib:.1f} GiB" if gib >= 1 else f"{1024 * gib:.0f} MiB"


def _time(seconds: float) -> str:
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < _HOUR_S else f"{seconds / 3600:.1f} h"


def estimate(forward: TrainingForward, assembly: Assembly, recipe: Recipe) -> Estimate:
    """Measure one batch, and reckon with the rest; no weight is changed."""
    denoiser = forward.model.denoiser
    weights = list(denoiser.parameters())
    num_trained = sum(each.numel() for each in weights if each.requires_grad)
    places = [Place(0, number) for number in range(recipe.batch_size)]
    began = 0.0
    for _ in range(2):
        began = time.perf_counter()
        forward.loss(assembly.batch(places, told="routed")).backward()  # type: ignore[no-untyped-call]
    seconds = (time.perf_counter() - began) * recipe.accumulate
    for each in weights:
        each.grad = None
    states = num_trained * (4 + _STATES[recipe.optimiser] + 4 * bool(recipe.ema))
    return Estimate(
        num_trained=num_trained,
        num_weights=sum(each.numel() for each in weights),
        weights_gib=sum(each.numel() * each.element_size() for each in weights) / 2**30,
        states_gib=states / 2**30,
        peak_memory_gib=peak_memory_gib(next(denoiser.parameters()).device),
        step_s=seconds,
        total_s=seconds * recipe.steps,
    )
