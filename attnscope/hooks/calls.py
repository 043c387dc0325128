"""Which denoising step, guidance branch and layer an attention call belongs to, as attnscope itself counts them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor

from attnscope.layout import FrameLayout

UNKNOWN_BRANCH = "unknown"


@dataclass(frozen=True)
class Call:
    """One attention call: when in the denoising it happened and where in the model.

    `step` counts distinct denoising steps from 0, `timestep` is the scheduler's t, `sigma` the noise level (nan
    where nobody knows it), `branch` is `cond`, `uncond`, or `unknown` for calls outside a pipeline, `layer` the
    1-based label (0 outside a layer), `denoiser` the network (`transformer`, `transformer_2`). `recomputed` is
    True while gradient checkpointing runs a layer a second time for the backward pass. A hook hears one branch at a
    time; only where a whole pass is meant is the branch `uncond+cond`, and `branches` takes it apart.
    """

    step: int
    timestep: float
    sigma: float
    branch: str
    layer: int
    denoiser: str
    recomputed: bool = False

    @property
    def branches(self) -> tuple[str, ...]:
        """The guidance branches that run in this call, in the order of the batch."""
        return tuple(self.branch.split("+"))


NO_CALL = Call(step=-1, timestep=math.nan, sigma=math.nan, branch=UNKNOWN_BRANCH, layer=0, denoiser="")


class Sample(NamedTuple):
    """One video in the batch of a denoiser: its guidance branch, and which of its tokens belongs to which frame."""

    branch: str
    layout: FrameLayout


class Part(NamedTuple):
    """Neighbouring videos of a batch that belong to one guidance branch: `start` to `stop`, of `whole` in all."""

    branch: str
    start: int
    stop: int
    whole: int

    def rows(self, size: int) -> slice:
        """Return which entries of a batch belong to these videos; a video may have several, one a place."""
        entries = size // self.whole
        return slice(self.start * entries, self.stop * entries)


def parts_of(samples: Sequence[Sample]) -> tuple[Part, ...]:
    """Cut a batch where the guidance branch changes.

    >>> from attnscope.layout import FrameLayout
    >>> batch = [Sample(branch, FrameLayout.uniform(2, 4)) for branch in ("uncond", "uncond", "cond", "cond")]
    >>> [(part.branch, part.rows(8)) for part in parts_of(batch)]
    [('uncond', slice(0, 4, None)), ('cond', slice(4, 8, None))]
    """
    found, start = [], 0
    for branch, run in groupby(samples, key=lambda sample: sample.branch):
        stop = start + len(list(run))
        found.append(Part(branch, start, stop, len(samples)))
        start = stop
    return tuple(found)


@dataclass(frozen=True)
class Pass:
    """One forward pass of a denoiser: its label, and the videos in its batch."""

    call: Call
    samples: tuple[Sample, ...]

    def again(self) -> Pass:
        """Return the same pass, marked as a recomputation."""
        return replace(self, call=replace(self.call, recomputed=True))


class Running:
    """A pass of a denoiser that has begun; what there is to know of it is worked out when somebody asks."""

    def __init__(self, find: Callable[[], Pass]) -> None:
        self._find = find

    @functools.cached_property
    def known(self) -> Pass:
        """Label and batch of the pass."""
        return self._find()


class Labels:
    """Counts denoising steps and knows the branch, from what the pipeline says and the timesteps it passes.

    A step is what the pipeline's own loop index says where it says it, else what its scheduler has counted; where
    neither counts, a new timestep is a new step. A scheduler that was set anew starts again at 0.
    """

    def __init__(self, scheduler: Callable[[], Any]) -> None:
        self._scheduler = scheduler
        self._context: tuple[str, Mapping[str, Any]] | None = None
        self._step = -1
        self._timestep: Tensor | None = None
        self._clock: Tensor | None = None
        self._num_passes = 0

    def enter_context(self, name: str, facts: Mapping[str, Any]) -> None:
        """Note what the pipeline says about the calls that follow."""
        self._context = (name, facts)

    def leave_context(self) -> None:
        """Forget it."""
        self._context = None

    @property
    def context(self) -> str:
        """What the pipeline calls what runs now; empty if it says nothing."""
        return "" if self._context is None else self._context[0]

    def begin(self, timestep: Tensor) -> tuple[int, Callable[[str, tuple[Sample, ...]], Pass]]:
        """Count the denoiser call that begins now; return how many went before it at its timestep, and how to label it.

        Counting is little, and must not be missed; the rest costs more than it may while nobody looks.
        """
        _, facts = self._context or (UNKNOWN_BRANCH, {})
        index, sigma = facts.get("step_index"), facts.get("sigma")
        step = in_pipeline = -1 if index is None else int(index)
        if index is None:
            step, in_pipeline = self._count(timestep)
        else:
            self._timestep, self._num_passes = None, 1
        self._step, num_before = step, self._num_passes - 1

        def label(denoiser: str, samples: tuple[Sample, ...]) -> Pass:
            # One timestep a token or a frame: a frame that is given stands at 0, the others at what is being denoised.
            now = float(timestep.max())
            branch = "+".join(part.branch for part in parts_of(samples))
            call = Call(
                step=step if branch == UNKNOWN_BRANCH else in_pipeline,
                timestep=now,
                sigma=self._sigma(now) if sigma is None else float(sigma),
                branch=branch,
                layer=0,
                denoiser=denoiser,
            )
            return Pass(call, samples)

        return num_before, label

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

    def _sigma(self, timestep: float) -> float:
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
