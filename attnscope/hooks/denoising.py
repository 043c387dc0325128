"""What is asked of a denoiser itself: no layer is skipped, contexts are noted, recomputations keep their label."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Generic, ParamSpec, TypeVar

import torch
from torch import nn

from attnscope.errors import UnsupportedModelError
from attnscope.hooks.calls import Recomputed, Running
from attnscope.hooks.current import CurrentCall
from attnscope.hooks.labels import Labels

Inputs = ParamSpec("Inputs")
Result = TypeVar("Result")

# Where diffusers keeps the hooks of a module.
_REGISTRY = "_diffusers_hook"

# Hooks of diffusers that skip layers or reuse their results, by what their names begin with.
_SKIPPING = (
    "pyramid_attention_broadcast",
    "faster_cache",
    "fbc_",
    "mag_cache",
    "taylorseer_cache",
    "text_kv_cache",
    "sea_cache",
    "layer_skip",
)


class SkipGuard:
    """Refuses a denoiser with a cache that skips layers: a layer that does not run cannot be observed.

    The whole network is searched once. At every call, because a cache can be switched on at any time, only what can
    keep an attention site from running: the site itself and the modules around it.
    """

    def __init__(self, denoiser: nn.Module, sites: Sequence[str]) -> None:
        parts = {path: (path or type(denoiser).__name__, part) for path, part in denoiser.named_modules()}
        for name, module in parts.values():
            _refuse_skipping(name, module.__dict__)
        around = {""} | {site[:end] for site in sites for end in _dots(site)} | set(sites)
        self._around = [(name, part.__dict__) for path, (name, part) in parts.items() if path in around]

    def check(self) -> None:
        """Look for such a cache.

        Raises
        ------
        UnsupportedModelError
            If one is switched on.
        """
        for name, state in self._around:
            if _REGISTRY in state:
                _refuse_skipping(name, state)


def _dots(path: str) -> Iterator[int]:
    return (index for index, letter in enumerate(path) if letter == ".")


def _refuse_skipping(path: str, state: Mapping[str, Any]) -> None:
    for name in state[_REGISTRY].hooks if _REGISTRY in state else ():
        if name.startswith(_SKIPPING):
            raise UnsupportedModelError(
                expected="a denoiser that runs every layer at every step",
                got=f"the cache hook {name!r}",
                where=f"at {path}",
                remedy="call disable_cache() on the denoiser first",
            )


def note_contexts(denoiser: nn.Module, labels: Labels) -> Callable[[], None]:
    """Let the labels note what the pipeline says through `cache_context`; return the way to stop."""
    original: Callable[..., AbstractContextManager[object]] = getattr(denoiser, "cache_context", _say_nothing)

    @functools.wraps(original)
    @contextmanager
    def cache_context(name: str, **facts: object) -> Iterator[None]:
        labels.enter_context(name, facts)
        try:
            with original(name, **facts):
                yield
        finally:
            labels.leave_context()

    before = denoiser.__dict__.get("cache_context")
    denoiser.__dict__["cache_context"] = cache_context

    def stop() -> None:
        if before is None:
            del denoiser.__dict__["cache_context"]
        else:
            denoiser.__dict__["cache_context"] = before

    return stop


def _say_nothing(name: str, **facts: object) -> AbstractContextManager[object]:
    return nullcontext()


class Checkpoints:
    """The parts of a denoiser that can recompute their layers for a backward pass: those run under their pass's label.

    Without this a mask limited to one branch or step would be missing from the recomputation, and the gradient would
    silently be that of another network.
    """

    def __init__(self, denoiser: nn.Module, current: CurrentCall) -> None:
        self._modules = [module for module in denoiser.modules() if hasattr(module, "gradient_checkpointing")]
        self._current = current
        self._replaced: list[tuple[dict[str, object], object]] = []

    def begin(self, running: Running) -> None:
        """Label what is checkpointed from here on; it keeps its label."""
        for module in self._modules if torch.is_grad_enabled() else ():
            original = module.__dict__.get("_gradient_checkpointing_func")
            if original is not None and getattr(module, "gradient_checkpointing", False):
                self._replaced.append((module.__dict__, original))
                labelled = functools.partial(_checkpoint, original, running, self._current)
                module.__dict__["_gradient_checkpointing_func"] = labelled

    def end(self) -> None:
        """Put back what checkpointed before."""
        while self._replaced:
            attributes, original = self._replaced.pop()
            attributes["_gradient_checkpointing_func"] = original


def _checkpoint(
    checkpoint: Callable[..., Result],
    running: Running,
    current: CurrentCall,
    layer: Callable[..., Result],
    *args: object,
    **kwargs: object,
) -> Result:
    return checkpoint(_LabelledLayer(layer, running, current), *args, **kwargs)


class _LabelledLayer(Generic[Inputs, Result]):
    """A layer that is run once in its pass, and again, as a recomputation of it, for the backward pass."""

    def __init__(self, layer: Callable[Inputs, Result], running: Running, current: CurrentCall) -> None:
        self._layer, self._running, self._current = layer, running, current
        self._has_run = False

    def __call__(self, *args: Inputs.args, **kwargs: Inputs.kwargs) -> Result:
        if not self._has_run:
            self._has_run = True
            return self._layer(*args, **kwargs)
        with self._current.during(Recomputed(self._running)):
            return self._layer(*args, **kwargs)
