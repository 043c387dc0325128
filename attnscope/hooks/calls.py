"""What an attention call is labelled with: denoising step, noise level, guidance branch, layer; and its batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import NamedTuple, Protocol

from attnscope.families.layout import FrameLayout

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

    @property
    def num_videos(self) -> int:
        """How many videos they are."""
        return self.stop - self.start

    def rows(self, size: int) -> slice:
        """Return which entries of a batch belong to these videos; a video may have several, one a place."""
        entries = size // self.whole
        return slice(self.start * entries, self.stop * entries)


def parts_of(samples: Sequence[Sample]) -> tuple[Part, ...]:
    """Cut a batch where the guidance branch changes.

    >>> from attnscope.families.layout import FrameLayout
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


class Running(Protocol):
    """A pass of a denoiser that has begun; what there is to know of it is worked out when somebody asks."""

    @property
    def known(self) -> Pass:
        """Label and batch of the pass."""


@dataclass(frozen=True)
class Recomputed:
    """A pass of which layers run a second time, for the backward pass of training."""

    first: Running

    @property
    def known(self) -> Pass:
        """Label and batch of the pass, marked as a recomputation."""
        return self.first.known.again()
