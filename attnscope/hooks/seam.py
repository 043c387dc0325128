"""The one place where attnscope stands between a diffusers processor and the attention it calls.

A processor normalises, rotates and splits into heads by itself and then calls an attention function by a name in
its module. While at least one tap is attached, that name holds a wrapper that hands the call to the tap on whose
behalf the processor runs in this thread, and to nobody if there is none.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from attnscope.errors import UnsupportedModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

_DISPATCHER = "dispatch_attention_fn"


@dataclass(frozen=True)
class AttentionCall:
    """One call of the model's own attention: tensors (batch, tokens, heads, head size), and how to make it.

    `run` calls the original function with everything but query, key and value as the processor passed it.
    `constrained` says in words what else shapes this attention (a mask of the model's own, for instance), and is
    empty if nothing does.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    scale: float | None
    constrained: str
    run: Callable[[Tensor, Tensor, Tensor], Tensor]


class Listener(Protocol):
    """Whatever answers an attention call in place of the original function."""

    def attend(self, call: AttentionCall) -> Tensor:
        """Return the attention output, (batch, tokens, heads, head size)."""


class _Here(threading.local):
    """Per thread, because two pipelines may run side by side in one process."""

    listener: Listener | None = None


@dataclass
class _Opening:
    original: Callable[..., Tensor]
    wrapper: Callable[..., Tensor]
    count: int


_here = _Here()
_lock = threading.Lock()
_openings: dict[int, _Opening] = {}


@contextmanager
def listening(listener: Listener | None) -> Iterator[None]:
    """Let `listener`, or nobody, answer the attention calls of this thread for a while."""
    before, _here.listener = _here.listener, listener
    try:
        yield
    finally:
        _here.listener = before


def open_seam(processor: object) -> Callable[[], None]:
    """Stand between a processor and its attention function; return the way to leave again.

    Raises
    ------
    UnsupportedModelError
        If the processor's module calls no attention function that is known here.
    """
    namespace = _namespace(processor)
    with _lock:
        opening = _openings.get(id(namespace))
        if opening is None:
            original = namespace[_DISPATCHER]
            opening = _openings[id(namespace)] = _Opening(original, _wrap(original), 0)
            namespace[_DISPATCHER] = opening.wrapper
        opening.count += 1
    return functools.partial(_close, namespace)


def _close(namespace: dict[str, Any]) -> None:
    with _lock:
        opening = _openings[id(namespace)]
        opening.count -= 1
        if opening.count:
            return
        del _openings[id(namespace)]
        # Somebody may have wrapped the wrapper meanwhile; then it stays below theirs and passes calls through.
        if namespace[_DISPATCHER] is opening.wrapper:
            namespace[_DISPATCHER] = opening.original


def _namespace(processor: object) -> dict[str, Any]:
    # The globals of the method itself: a subclass may live in another module than the code that attends.
    namespace: dict[str, Any] = getattr(type(processor).__call__, "__globals__", {})
    if _DISPATCHER not in namespace:
        raise UnsupportedModelError(
            f"expected an attention processor that calls {_DISPATCHER}, got {type(processor).__name__}, "
            f"in {type(processor).__module__}; set the model's own processor before attaching"
        )
    return namespace


def _wrap(original: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @functools.wraps(original)
    def dispatch(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
        **rest: Any,
    ) -> Tensor:
        def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return original(q, k, v, attn_mask, dropout_p, is_causal, scale, enable_gqa, **rest)

        listener = _here.listener
        if listener is None:
            return run(query, key, value)
        facts = {
            "a mask": attn_mask is not None,
            "dropout": dropout_p != 0.0,
            "causality": is_causal,
            "grouped heads": enable_gqa,
        }
        constrained = " and ".join(name for name, there in facts.items() if there)
        # A hook may run another model; nothing of that is the business of this listener.
        with listening(None):
            return listener.attend(AttentionCall(query, key, value, scale, constrained, run))

    return dispatch
