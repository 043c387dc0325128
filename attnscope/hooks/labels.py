"""Counting denoising steps as they run, from what the pipeline says, its scheduler has counted, and the timesteps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnscope.families.calling import NoiseShare
from attnscope.hooks.calls import Call, Pass, Sample, parts_of
from attnscope.hooks.noise import noise_level

# Under which names schedulers keep how often they were asked for the next step.
_COUNTERS = ("step_index", "counter")


@dataclass(frozen=True)
class Moment:
    """When a pass of a denoiser began.

    `order` is how many passes went before in this step, `context` what the pipeline calls what runs, `sigma` the noise
    level where whoever calls has chosen it.
    """

    timestep: Tensor
    step: int
    order: int
    context: str
    sigma: float | None

    def label(self, denoiser: str, samples: tuple[Sample, ...], scheduler: object) -> Pass:
        """Return the pass that began then, with these videos in its batch."""
        # One timestep a token or a frame: a frame that is given stands at 0, the others at what is being denoised.
        now = self.timestep.max()
        call = Call(
            step=self.step,
            timestep=float(now),
            sigma=noise_level(scheduler, now) if self.sigma is None else self.sigma,
            branch="+".join(part.branch for part in parts_of(samples)),
            layer=0,
            denoiser=denoiser,
        )
        return Pass(call, samples)


class Labels:
    """Counts denoising steps and knows the branch, from what the pipeline says and the timesteps it passes.

    A step is what the pipeline's own loop index says where it says it. Else a new step begins where the timestep is
    another than before, or the scheduler has counted on: two steps may share a timestep (in the second pass of a
    method of second order, or rounded to 16 bits), and a run may begin in the middle of the schedule. A scheduler that
    was set anew starts again at 0.
    """

    def __init__(self, scheduler: Callable[[], object]) -> None:
        self._find_scheduler = scheduler
        self._context = ""
        self._facts: Mapping[str, Any] = {}
        self._step = -1
        self._num_passes = 0
        self._timestep: Tensor | None = None
        self._counted: tuple[object, ...] = ()
        self._schedule: object = None

    @property
    def scheduler(self) -> object:
        """The pipeline's scheduler, asked for anew: it can be exchanged while taps are attached."""
        return self._find_scheduler()

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
            self._count(timestep)
        else:
            self._step, self._num_passes, self._timestep = int(index), 1, None
        level = float(sigma) if isinstance(sigma, NoiseShare) else None
        return Moment(timestep, self._step, self._num_passes - 1, self._context, level)

    def _count(self, timestep: Tensor) -> None:
        scheduler = self.scheduler
        schedule = getattr(scheduler, "timesteps", None)
        if schedule is not self._schedule:
            self._schedule, self._step, self._timestep = schedule, -1, None
        counted = tuple(getattr(scheduler, name, None) for name in _COUNTERS)
        before = self._timestep
        same = before is not None and before.shape == timestep.shape and torch.equal(before, timestep)
        if same and counted == self._counted:
            self._num_passes += 1
        else:
            self._step, self._num_passes = self._step + 1, 1
        self._timestep, self._counted = timestep.detach().clone(), counted
