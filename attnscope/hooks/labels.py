"""Counting denoising steps, from what the pipeline says, its scheduler has counted, and the timesteps it passes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnscope.hooks.calls import UNKNOWN_BRANCH, Call, Pass, Sample, parts_of


@dataclass(frozen=True)
class Moment:
    """When a pass of a denoiser began.

    `step` is the step by the pipeline or its scheduler, `counted_step` the one by the timesteps that were seen,
    `order` how many passes went before at this timestep, `context` what the pipeline calls what runs, `sigma` the noise
    level where the pipeline says it.
    """

    timestep: Tensor
    step: int
    counted_step: int
    order: int
    context: str
    sigma: float | None

    def label(self, denoiser: str, samples: tuple[Sample, ...], labels: Labels) -> Pass:
        """Return the pass that began then, with these videos in its batch."""
        # One timestep a token or a frame: a frame that is given stands at 0, the others at what is being denoised.
        now = float(self.timestep.max())
        branch = "+".join(part.branch for part in parts_of(samples))
        call = Call(
            step=self.counted_step if branch == UNKNOWN_BRANCH else self.step,
            timestep=now,
            sigma=labels.sigma_at(now) if self.sigma is None else self.sigma,
            branch=branch,
            layer=0,
            denoiser=denoiser,
        )
        return Pass(call, samples)


class Labels:
    """Counts denoising steps and knows the branch, from what the pipeline says and the timesteps it passes.

    A step is what the pipeline's own loop index says where it says it, else what its scheduler has counted; where
    neither counts, a new timestep is a new step. A scheduler that was set anew starts again at 0.
    """

    def __init__(self, scheduler: Callable[[], Any]) -> None:
        self._scheduler = scheduler
        self._context = ""
        self._facts: Mapping[str, Any] = {}
        self._step = -1
        self._timestep: Tensor | None = None
        self._clock: Tensor | None = None
        self._num_passes = 0

    def enter_context(self, name: str, facts: Mapping[str, Any]) -> None:
        """Note what the pipeline says about the calls that follow."""
        self._context, self._facts = name, facts

    def leave_context(self) -> None:
        """Forget it."""
        self._context, self._facts = "", {}

    def begin(self, timestep: Tensor) -> Moment:
        """Count the denoiser call that begins now.

        Counting is little, and must not be missed; what costs more waits until somebody asks for the label.
        """
        index, sigma = self._facts.get("step_index"), self._facts.get("sigma")
        if index is None:
            by_timestep, step = self._count(timestep)
        else:
            by_timestep = step = int(index)
            self._timestep, self._num_passes = None, 1
        self._step = by_timestep
        level = None if sigma is None else float(sigma)
        return Moment(timestep, step, by_timestep, self._num_passes - 1, self._context, level)

    def _count(self, timestep: Tensor) -> tuple[int, int]:
        """The step by the timesteps that were seen, and the one by the scheduler where it counts."""
        before, self._timestep = self._timestep, timestep.detach().clone()
        scheduler, step = self._scheduler(), self._step
        clock = getattr(scheduler, "timesteps", None)
        if clock is not self._clock:
            self._clock, step, before = clock, -1, None
        same = before is not None and before.shape == timestep.shape and torch.equal(before, timestep)
        self._num_passes = self._num_passes + 1 if same else 1
        step += not same
        counted = getattr(scheduler, "step_index", None)
        if counted is None:
            return step, step
        # Two steps can have one timestep, rounded to 16 bits; the scheduler tells them apart.
        return step, int(counted) - int(getattr(scheduler, "begin_index", None) or 0)

    def sigma_at(self, timestep: float) -> float:
        """Return the noise level at a timestep; nan where the scheduler does not know it."""
        # Asked for anew, because a pipeline's scheduler can be exchanged while taps are attached.
        scheduler = self._scheduler()
        timesteps, sigmas = (getattr(scheduler, name, None) for name in ("timesteps", "sigmas"))
        kept = getattr(scheduler, "alphas_cumprod", None)
        if sigmas is None and kept is not None and 0 <= timestep < len(kept):
            # What DDIM and its kin keep of the picture's variance; the rest is noise.
            return math.sqrt(1 - float(kept[int(timestep)]))
        if timesteps is None or sigmas is None:
            return math.nan
        places = [index for index, value in enumerate(timesteps.tolist()) if value == timestep]
        return float(sigmas[places[0]]) if places else math.nan
