"""Which denoising step, guidance branch and layer an attention call belongs to, as attnscope itself counts them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from attnscope.layout import FrameLayout

UNKNOWN_BRANCH = "unknown"


@dataclass(frozen=True)
class Call:
    """One attention call: when in the denoising it happened and where in the model.

    `step` counts distinct denoising steps from 0, `timestep` is the scheduler's t, `sigma` the noise level (nan
    where nobody knows it), `branch` is `cond`, `uncond`, or `unknown` for calls outside a pipeline, `layer` the
    1-based label (0 outside a layer), `denoiser` the network (`transformer`, `transformer_2`). `recomputed` is
    True while gradient checkpointing runs a layer a second time for the backward pass.
    """

    step: int
    timestep: float
    sigma: float
    branch: str
    layer: int
    denoiser: str
    recomputed: bool = False


NO_CALL = Call(step=-1, timestep=math.nan, sigma=math.nan, branch=UNKNOWN_BRANCH, layer=0, denoiser="")


@dataclass(frozen=True)
class Pass:
    """One forward pass of a denoiser: its label, and which token belongs to which frame in it."""

    call: Call
    layout: FrameLayout

    def again(self) -> Pass:
        """Return the same pass, marked as a recomputation."""
        return replace(self, call=replace(self.call, recomputed=True))


class Labels:
    """Counts denoising steps and knows the branch, from what the pipeline says and the timesteps it passes.

    A step is what the pipeline's own loop index says where it says it; elsewhere a new timestep is a new step.
    """

    def __init__(self, scheduler: Callable[[], Any]) -> None:
        self._scheduler = scheduler
        self._context: tuple[str, Mapping[str, Any]] | None = None
        self._step = -1
        self._timestep = math.nan

    def enter_context(self, name: str, facts: Mapping[str, Any]) -> None:
        """Note what the pipeline says about the calls that follow."""
        self._context = (name, facts)

    def leave_context(self) -> None:
        """Forget it."""
        self._context = None

    def next_pass(self, denoiser: str, timestep: Tensor, layout: FrameLayout) -> Pass:
        """Label the denoiser call that begins now."""
        # Wan 2.2 (5B) passes one timestep a token; in text to video they are all the same.
        now = float(timestep.flatten()[0])
        branch, facts = self._context or (UNKNOWN_BRANCH, {})
        index = facts.get("step_index")
        if index is not None:
            self._step = int(index)
        elif now != self._timestep:
            self._step += 1
        self._timestep = now
        sigma = facts.get("sigma")
        call = Call(
            step=self._step,
            timestep=now,
            sigma=self._sigma(now) if sigma is None else float(sigma),
            branch=branch,
            layer=0,
            denoiser=denoiser,
        )
        return Pass(call, layout)

    def _sigma(self, timestep: float) -> float:
        # Asked for anew, because a pipeline's scheduler can be exchanged while taps are attached.
        timesteps, sigmas = (getattr(self._scheduler(), name, None) for name in ("timesteps", "sigmas"))
        if timesteps is None or sigmas is None:
            return math.nan
        places = [index for index, value in enumerate(timesteps.tolist()) if value == timestep]
        return float(sigmas[places[0]]) if places else math.nan
