"""What is asked of a denoiser itself: no layer is skipped, contexts are heard, recomputations keep their label."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import nn

from attnscope.errors import UnsupportedModelError
from attnscope.hooks.calls import Labels, Pass

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

    Asked at every call, because a cache can be switched on at any time. The modules are found once: walking the
    tree at every call would cost more than all taps together.
    """

    def __init__(self, denoiser: nn.Module) -> None:
        self._parts = [
            (path or type(denoiser).__name__, module.__dict__) for path, module in denoiser.named_modules()
        ]

    def check(self) -> None:
        """Look for such a cache.

        Raises
        ------
        UnsupportedModelError
            If one is switched on.
        """
        for path, state in self._parts:
            if _REGISTRY in state:
                _refuse_skipping(state[_REGISTRY].hooks, path)


def _refuse_skipping(hooks: Collection[str], path: str) -> None:
    for name in hooks:
        if name.startswith(_SKIPPING):
            raise UnsupportedModelError(
                f"expected a denoiser that runs every layer at every step, got the cache hook {name!r}, "
                f"at {path}; call disable_cache() on the denoiser first"
            )


def hear_contexts(denoiser: nn.Module, labels: Labels) -> Callable[[], None]:
    """Let the labels hear what the pipeline says through `cache_context`; return the way to stop."""
    original = getattr(denoiser, "cache_context", None)
    if original is None:
        return lambda: None

    @functools.wraps(original)
    @contextmanager
    def cache_context(name: str, **facts: Any) -> Iterator[None]:
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


def keep_label_in_checkpoints(
    denoiser: nn.Module, running: Pass, during: Callable[[Pass], AbstractContextManager[None]]
) -> Callable[[], None]:
    """Let layers that are recomputed for a backward pass run under the label of the pass they belong to.

    Without this a mask limited to one branch or step would be missing from the recomputation, and the gradient
    would silently be that of another network. Returns the way to stop; what was checkpointed keeps its label.
    """
    changed: list[tuple[dict[str, Any], Any]] = []
    for module in denoiser.modules() if torch.is_grad_enabled() else ():
        original = module.__dict__.get("_gradient_checkpointing_func")
        if original is not None and getattr(module, "gradient_checkpointing", False):
            module.__dict__["_gradient_checkpointing_func"] = _labelled(original, running, during)
            changed.append((module.__dict__, original))

    def stop() -> None:
        for attributes, original in changed:
            attributes["_gradient_checkpointing_func"] = original

    return stop


def _labelled(
    checkpoint: Callable[..., Any], running: Pass, during: Callable[[Pass], AbstractContextManager[None]]
) -> Callable[..., Any]:
    def labelled(layer: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        num_runs = 0

        def run(*inputs: Any, **named: Any) -> Any:
            nonlocal num_runs
            num_runs += 1
            if num_runs == 1:
                return layer(*inputs, **named)
            with during(running.again()):
                return layer(*inputs, **named)

        return checkpoint(run, *args, **kwargs)

    return labelled
