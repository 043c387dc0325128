"""Hook points: the named places of an attention layer where a value can be seen and replaced."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor, nn

from attnscope.errors import HookNameError, quote

if TYPE_CHECKING:
    from attnscope.hooks.calls import Call

# In the order they fire within one attention call.
MEMBERS = ("q", "k", "v", "mask", "scores", "pattern", "frame_mass", "token_frame", "lse", "z", "out")

# Where nnsight keeps its state on a module that it has wrapped.
_TRACE = "__nnsight__"

Hook = Callable[[Tensor, "HookPoint"], "Tensor | None"]
NameFilter = str | Sequence[str] | Callable[[str], bool]


class KnowsCall(Protocol):
    """Whoever can say which call is running."""

    @property
    def call(self) -> Call:
        """The attention call that is running."""


class HookPoint(nn.Module):
    """A named place in the model: it passes a value on, and whoever listens may look at it or replace it.

    An identity module, so that PyTorch hooks and nnsight reach it as they reach any module. A listener is called
    as `hook(value, point)` and returns None to look, or a tensor to put in the value's place. `point.name` is the
    canonical name, `point.layer` the 1-based label, `point.call` says step, branch and noise level.
    """

    def __init__(self, name: str, layer: int, owner: KnowsCall) -> None:
        super().__init__()
        self.name = name
        self.layer = layer
        self._owner = owner
        self._listeners: list[Hook] = []

    @property
    def call(self) -> Call:
        """The attention call that is running."""
        return self._owner.call

    def add(self, hook: Hook) -> Callable[[], None]:
        """Let `hook` listen, after those that listen already; return the way to stop."""
        self._listeners.append(hook)
        return lambda: self._listeners.remove(hook)

    @property
    def listeners(self) -> tuple[Collection[Any], ...]:
        """Where listeners are kept: hooks added here, and PyTorch hooks of two kinds. Empty means nobody."""
        return self._listeners, self._forward_hooks, self._forward_pre_hooks

    @property
    def is_heard(self) -> bool:
        """Whether anybody listens: a hook added here, a PyTorch hook, or an nnsight trace that wants the value."""
        return any(self.listeners) or self._is_wanted_by_trace()

    @property
    def is_awake(self) -> bool:
        """Whether the point must be passed at all: somebody listens, or an nnsight trace counts the visits."""
        return self.is_heard or self._trace() is not None

    def forward(self, value: Any) -> Any:
        """Pass the value by all listeners in turn."""
        for hook in tuple(self._listeners):
            replaced = hook(value, self)
            value = value if replaced is None else replaced
        return value

    # nnsight keeps its state on the module and offers no public question for "does anybody wait for this value";
    # these two methods are the only place that reads it, and the nnsight contract tests watch them.
    def _trace(self) -> tuple[Any, Sequence[str]] | None:
        state = self.__dict__.get(_TRACE)
        if state is None:
            return None
        interleaver, _, locations = state.active()
        return None if interleaver is None else (interleaver, locations)

    def _is_wanted_by_trace(self) -> bool:
        trace = self._trace()
        if trace is None:
            return False
        interleaver, locations = trace
        return any(place in interleaver.parked or place in interleaver.observers for place in locations)


class Audience:
    """Whether anybody listens at any of several hook points: asked at every attention call, so it must cost nothing.

    It looks into the very containers in which listeners are kept, and asks the points themselves only after a trace
    has laid its state on one of them.
    """

    def __init__(self, points: Collection[HookPoint]) -> None:
        self._points = tuple(points)
        self._ears = tuple(ears for point in self._points for ears in point.listeners)
        self._states = tuple(point.__dict__ for point in self._points)

    @property
    def is_awake(self) -> bool:
        """Whether one of the points must be passed."""
        if any(self._ears):
            return True
        return any(_TRACE in state for state in self._states) and any(
            point.is_awake for point in self._points
        )


def chosen(names: Collection[str], wanted: NameFilter, where: str) -> tuple[str, ...]:
    """Return the hook names that are wanted: a name, several names, or a question asked of each name.

    Raises
    ------
    HookNameError
        If a name does not exist (near matches are shown), or nothing at all is wanted.
    """
    if callable(wanted):
        found = tuple(name for name in names if wanted(name))
    else:
        found = (wanted,) if isinstance(wanted, str) else tuple(wanted)
        for name in found:
            if name not in names:
                raise HookNameError(_unknown(names, name, where))
    if not found:
        raise HookNameError(
            f"expected at least one of {len(names)} hook names, got a filter that takes none, in {where}; "
            f"ask for names like {quote(next(iter(names)))}"
        )
    return found


def _unknown(names: Collection[str], name: str, where: str) -> str:
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.0)
    shown = ", ".join(quote(match) for match in near)
    return f"expected one of {len(names)} hook names, got {quote(name)}, in {where}; did you mean {shown}?"
