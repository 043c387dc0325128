"""The one place where attnscope stands between a diffusers processor and the attention it calls.

A processor normalises, rotates and splits into heads by itself and then attends in one of two ways. Newer ones call
`dispatch_attention_fn` by a name in their module: while at least one tap is attached, that name holds a wrapper that
hands the call to the tap on whose behalf the processor runs in this thread, and to nobody if there is none. Older
ones call PyTorch's `scaled_dot_product_attention`, which a function mode catches while the processor runs.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from typing_extensions import override

from attnscope.errors import UnsupportedModelError

_DISPATCHER = "dispatch_attention_fn"
_FUSED = "scaled_dot_product_attention"


@dataclass(frozen=True)
class AttentionCall:
    """One call of the model's own attention: tensors (batch, tokens, heads, head size), and how to make it.

    `run` calls the original function with everything but query, key and value as the processor passed it, `alone` the
    same without the other processes that share this attention (context parallelism). `mask` is
    the model's own, (batch, heads or 1, tokens or 1, tokens), bool or added to the scores. `constrained` says in
    words what else shapes this attention (dropout, for instance), and is empty if nothing does.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    scale: float | None
    mask: Tensor | None
    constrained: str
    run: Callable[[Tensor, Tensor, Tensor], Tensor]
    alone: Callable[[Tensor, Tensor, Tensor], Tensor]


class AttentionHandler(Protocol):
    """Whatever answers an attention call in place of the original function."""

    def attend(self, call: AttentionCall) -> Tensor:
        """Return the attention output, (batch, tokens, heads, head size)."""


class _Here(threading.local):
    """Per thread, because two pipelines may run side by side in one process."""

    handler: AttentionHandler | None = None


@dataclass
class _Opening:
    original: Callable[..., Tensor]
    wrapper: Callable[..., Tensor]
    count: int


_here = _Here()
_lock = threading.Lock()
_openings: dict[int, _Opening] = {}


@contextmanager
def route_calls(handler: AttentionHandler | None, processor: object = None) -> Iterator[None]:
    """Let `handler`, or nobody, answer the attention calls of this thread, or of this processor, for a while."""
    before, _here.handler = _here.handler, handler
    fused: AbstractContextManager[object] = nullcontext()
    if processor is not None and not _dispatches(processor):
        fused = _Fused()
    try:
        with fused:
            yield
    finally:
        _here.handler = before


def open_seam(processor: object) -> Callable[[], None]:
    """Stand between a processor and its attention function; return the way to leave again.

    Raises
    ------
    UnsupportedModelError
        If the processor calls no attention function that is known here.
    """
    if not _dispatches(processor):
        _require_fused(processor)
        return lambda: None
    namespace = _namespace(processor)
    with _lock:
        opening = _openings.get(id(namespace))
        if opening is None:
            original = namespace[_DISPATCHER]
            opening = _openings[id(namespace)] = _Opening(original, _wrap(original), 0)
            namespace[_DISPATCHER] = opening.wrapper
        opening.count += 1
    return functools.partial(_close, namespace)


def _close(namespace: dict[str, object]) -> None:
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
    return namespace


def _names_used(processor: object) -> tuple[str, ...]:
    method = type(processor).__call__
    code = getattr(method, "__code__", None) or getattr(
        getattr(type(processor), "forward", None), "__code__", None
    )
    return tuple(getattr(code, "co_names", ()))


def _dispatches(processor: object) -> bool:
    return _DISPATCHER in _namespace(processor) and _DISPATCHER in _names_used(processor)


def _require_fused(processor: object) -> None:
    if _FUSED not in _names_used(processor):
        raise UnsupportedModelError(
            expected=f"an attention processor that calls {_DISPATCHER} or {_FUSED}",
            got=f"{type(processor).__name__}",
            where=f"in {type(processor).__module__}",
            remedy="set the model's own processor before attaching",
        )


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
        **rest: object,
    ) -> Tensor:
        handler = _here.handler
        if handler is None:
            return original(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, **rest)

        def run(q: Tensor, k: Tensor, v: Tensor, **others: object) -> Tensor:
            return original(q, k, v, attn_mask, dropout_p, is_causal, scale, enable_gqa, **{**rest, **others})

        alone = functools.partial(run, parallel_config=None)
        constrained = _constraints(dropout_p, is_causal, enable_gqa)
        # A hook may run another model; nothing of that is the business of this handler.
        with route_calls(None):
            return handler.attend(AttentionCall(query, key, value, scale, attn_mask, constrained, run, alone))

    return dispatch


class _Fused(TorchFunctionMode):
    """Catches the attention that a processor asks PyTorch for itself; its tensors have heads before tokens."""

    @override
    def __torch_function__(
        self,
        function: Callable[..., object],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        handler = _here.handler
        if function is not scaled_dot_product_attention or handler is None:
            return function(*args, **(kwargs or {}))
        return _answer(handler, *args, **(kwargs or {}))


def _answer(
    handler: AttentionHandler,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    given = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)

    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        # The very tensors that were given, where nothing was replaced: strides choose the kernel that runs.
        chosen = [
            whole if now is before else now.transpose(1, 2)
            for whole, before, now in zip((query, key, value), given, (q, k, v), strict=True)
        ]
        output: Tensor = scaled_dot_product_attention(
            chosen[0],
            chosen[1],
            chosen[2],
            attn_mask,
            dropout_p,
            is_causal,
            scale=scale,
            enable_gqa=enable_gqa,
        )
        return output.transpose(1, 2)

    constrained = _constraints(dropout_p, is_causal, enable_gqa)
    with route_calls(None):
        call = AttentionCall(*given, scale=scale, mask=attn_mask, constrained=constrained, run=run, alone=run)
        return handler.attend(call).transpose(1, 2)


def _constraints(dropout_p: float, is_causal: bool, enable_gqa: bool) -> str:
    facts = {"dropout": dropout_p != 0.0, "causality": is_causal, "grouped heads": enable_gqa}
    return " and ".join(name for name, there in facts.items() if there)
