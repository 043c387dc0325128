"""The passes of one denoiser: where each begins and ends, and what there is to know of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import torch
from torch import nn

from attnscope._types import Arguments
from attnscope.families import DenoiserCall, Family
from attnscope.families.protocols import Model
from attnscope.hooks.calls import Call, Pass, Sample
from attnscope.hooks.current import CurrentCall
from attnscope.hooks.denoising import Checkpoints, SkipGuard
from attnscope.hooks.labels import Labels, Moment

Callbacks = Mapping[str, Sequence[Callable[[Call], None]]]


@dataclass(frozen=True)
class _Begun:
    """A pass that has begun; its label costs more than it may while nobody looks, and waits until somebody asks."""

    passes: DenoiserPasses
    given: DenoiserCall
    moment: Moment

    @cached_property
    def known(self) -> Pass:
        """Label and batch of the pass."""
        family, denoiser = self.passes.family, self.passes.denoiser
        branches = family.branches(self.passes.model, self.moment.context, self.given)
        layouts = [family.layout(denoiser, self.given, index) for index in range(len(branches))]
        if (divide := self.passes.current.divide) is not None:
            layouts = [divide(*each) for each in zip(branches, layouts, strict=True)]
        return self.moment.label(
            self.passes.name, tuple(map(Sample, branches, layouts)), self.passes.labels.scheduler
        )


class DenoiserPasses:
    """Says which pass of a denoiser runs, and calls back before and after each."""

    def __init__(
        self,
        name: str,
        denoiser: nn.Module,
        model: Model,
        family: Family,
        labels: Labels,
        current: CurrentCall,
        callbacks: Callbacks,
        follow: Callable[[], None],
    ) -> None:
        self.name, self.denoiser, self.model, self.family, self.labels = name, denoiser, model, family, labels
        self.current = current
        self._callbacks = callbacks
        self._follow = follow
        self._guard = SkipGuard(denoiser, [site.module for site in family.sites(denoiser)])
        self._checkpoints = Checkpoints(denoiser, current)

    def watch(self) -> Callable[[], None]:
        """Begin to watch; return the way to stop."""
        # Counting passes is not for a compiler: where a whole denoiser is compiled, its graph lies between the two.
        begin, end = (cast(Any, torch.compiler).disable(hook) for hook in (self._begin, self._end))
        with ExitStack() as undo:
            undo.callback(self.denoiser.register_forward_pre_hook(begin, with_kwargs=True).remove)
            undo.callback(self.denoiser.register_forward_hook(end, always_call=True).remove)
            return undo.pop_all().close

    def _begin(self, module: nn.Module, args: tuple[object, ...], kwargs: Arguments) -> None:
        self._guard.check()
        self._follow()
        given = DenoiserCall.bind(module, self.family.video_argument, args, kwargs)
        moment = self.labels.begin(given.timestep)
        self.current.running = running = _Begun(self, replace(given, order=moment.order), moment)
        self._checkpoints.begin(running)
        for callback in tuple(self._callbacks["before"]):
            callback(running.known.call)

    def _end(self, module: nn.Module, args: tuple[object, ...], result: object) -> None:
        ended, self.current.running = self.current.running, None
        self._checkpoints.end()
        if result is not None and ended is not None:
            for callback in tuple(self._callbacks["after"]):
                callback(ended.known.call)
