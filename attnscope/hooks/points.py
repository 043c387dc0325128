"""Hook points: the named places of an attention layer where a value can be seen and replaced."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from typing_extensions import override

from attnscope.errors import HookNameError, InputError, quote
from attnscope.hooks.current import CurrentCall

if TYPE_CHECKING:
    from attnscope.hooks.calls import Call, Part

# In the order they fire within one attention call.
MEMBERS = ("q", "k", "v", "mask", "scores", "pattern", "frame_mass", "token_frame", "lse", "z", "out")

# Points that show what attnscope has measured, in float32; what is written there may have more digits.
_MEASURED = ("scores", "pattern", "frame_mass", "token_frame", "lse")

# Where nnsight keeps its state on a module that it has wrapped.
TRACE = "__nnsight__"

Hook = Callable[[Tensor, "HookPoint"], "Tensor | None"]
NameFilter = str | Sequence[str] | Callable[[str], bool]


class HookPoint(nn.Module):
    """A named place in the model: it passes a value on, and whoever listens may look at it or replace it.

    An identity module, so that PyTorch hooks and nnsight reach it as they reach any module. A listener is called
    as `hook(value, point)` and returns None to look, or a tensor to put in the value's place. `point.name` is the
    canonical name, `point.layer` the 1-based label, `point.call` says step, branch and noise level.
    """

    _shares_memory = True

    def __init__(self, name: str, layer: int, current: CurrentCall) -> None:
        super().__init__()
        self.name = name
        self.layer = layer
        self._current = current
        self._hooks: list[Hook] = []

    @property
    def call(self) -> Call:
        """The attention call that is running."""
        return self._current.call

    def add(self, hook: Hook) -> Callable[[], None]:
        """Let `hook` listen, after those that listen already; return the way to stop."""
        listeners, listener = self._current.listeners, object()
        self._hooks.append(hook)
        listeners.add(listener)

        def remove() -> None:
            self._hooks.remove(hook)
            listeners.discard(listener)

        return remove

    # Nobody says when a hook of PyTorch is removed, so the point stays a listener; this goes for all four.
    @override
    def register_forward_hook(self, *args: Any, **kwargs: Any) -> RemovableHandle:
        """Register a hook as of any module, and count as a listener from then on."""
        self._current.listeners.add(self)
        return super().register_forward_hook(*args, **kwargs)

    @override
    def register_forward_pre_hook(self, *args: Any, **kwargs: Any) -> RemovableHandle:
        """Register a hook as of any module, and count as a listener from then on."""
        self._current.listeners.add(self)
        return super().register_forward_pre_hook(*args, **kwargs)

    @override
    def register_full_backward_hook(self, *args: Any, **kwargs: Any) -> RemovableHandle:
        """Register a hook as of any module: how gradients of what passes here are seen."""
        self._current.listeners.add(self)
        return super().register_full_backward_hook(*args, **kwargs)

    @override
    def register_full_backward_pre_hook(self, *args: Any, **kwargs: Any) -> RemovableHandle:
        """Register a hook as of any module: how gradients of what passes here are seen."""
        self._current.listeners.add(self)
        return super().register_full_backward_pre_hook(*args, **kwargs)

    @property
    def has_listeners(self) -> bool:
        """Whether anybody listens: a hook added here, a PyTorch hook, or an nnsight trace that wants the value."""
        return (
            bool(self._hooks or self._forward_hooks or self._forward_pre_hooks)
            or bool(self._backward_hooks or self._backward_pre_hooks)
            or self._is_wanted_by_trace()
        )

    @property
    def is_active(self) -> bool:
        """Whether the point must be passed at all: somebody listens, or an nnsight trace counts the visits."""
        return self.has_listeners or self._trace() is not None

    @override
    def forward(self, value: Tensor | None) -> Tensor | None:
        """Pass the value by all listeners in turn, one guidance branch at a time where several share the batch."""
        if value is None:  # nobody listens: a trace that counts the visits counts this one
            return None
        parts = self._current.parts if self._hooks else ()
        if len(parts) < 2:
            return self._notify(value)
        shown = self.split_branches(value, parts)
        left = []
        for part, piece in zip(parts, shown, strict=True):
            with self._current.in_branch(part):
                left.append(self._notify(piece))
        if self._shares_memory and all(now is before for now, before in zip(left, shown, strict=True)):
            return value
        return self.join_branches(left, parts)

    def split_branches(self, value: Tensor, parts: Sequence[Part]) -> list[Tensor]:
        """Return what each guidance branch has of a value."""
        return [value[part.rows(len(value))] for part in parts]

    def join_branches(self, pieces: Sequence[Tensor], parts: Sequence[Part]) -> Tensor:
        """Return the value that the branches have together."""
        return torch.cat(list(pieces))

    def _notify(self, value: Tensor) -> Tensor:
        for hook in tuple(self._hooks):
            replaced = hook(value, self)
            if replaced is not None:
                self._require_fitting(replaced, value, hook)
                value = replaced
        return value

    def _require_fitting(self, replaced: object, value: Tensor, hook: Hook) -> None:
        if isinstance(replaced, Tensor) and self._fits(replaced, value):
            return
        got = quote(replaced)
        if isinstance(replaced, Tensor):
            kind, shown = ((each.dtype, each.device.type) for each in (replaced, value))
            got = f"{tuple(replaced.shape)}" if kind == shown else f"one of {kind[0]} on {kind[1]}"
        raise InputError(
            expected=f"None or {value.dtype} on {value.device.type} of shape {tuple(value.shape)}",
            got=got,
            where=f"from hook {getattr(hook, '__qualname__', type(hook).__name__)} at {self.name}",
            remedy="return what was shown with other numbers in it",
        )

    def _fits(self, replaced: Tensor, value: Tensor) -> bool:
        same_dtype = replaced.dtype == value.dtype
        if self.name.endswith(_MEASURED):
            same_dtype = replaced.is_floating_point()
        return replaced.shape == value.shape and same_dtype and replaced.device == value.device

    # nnsight keeps its state on the module and offers no public question for "does anybody wait for this value";
    # these two methods are the only place that reads it, and the nnsight contract tests watch them.
    def _trace(self) -> tuple[Any, Sequence[str]] | None:
        state = self.__dict__.get(TRACE)
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


class RelationPoint(HookPoint):
    """The point where a frame relation is written: one for all videos of the batch, until somebody tells them apart."""

    _shares_memory = False

    @override
    def _fits(self, replaced: Tensor, value: Tensor) -> bool:
        return not replaced.is_complex()  # its shape is checked where it is put in force

    @override
    def split_branches(self, value: Tensor, parts: Sequence[Part]) -> list[Tensor]:
        """Return a relation of its own for each guidance branch."""
        return [value.clone() if value.ndim < 4 else value[part.rows(len(value))].clone() for part in parts]

    @override
    def join_branches(self, pieces: Sequence[Tensor], parts: Sequence[Part]) -> Tensor:
        """Return one relation where the branches agree, else one for each video."""
        width = max(piece.ndim for piece in pieces)
        if width < 4 and all(piece.shape == pieces[0].shape and piece.equal(pieces[0]) for piece in pieces):
            return pieces[0]
        # As many entries for each video as the finest of the branches has; one a place where somebody says so.
        entries = max(
            len(piece) // part.num_videos if piece.ndim == 4 else 1
            for part, piece in zip(parts, pieces, strict=True)
        )
        num_heads = max(piece.shape[-3] if piece.ndim > 2 else 1 for piece in pieces)
        whole = []
        for part, piece in zip(parts, pieces, strict=True):
            wide = piece.reshape((1,) * (4 - piece.ndim) + piece.shape).double()
            repeated = wide.repeat_interleave(part.num_videos * entries // len(wide), 0)
            whole.append(repeated.expand(-1, num_heads, -1, -1))
        return torch.cat(whole)


def match_names(names: Collection[str], wanted: NameFilter, where: str) -> tuple[str, ...]:
    """Return the hook names that are wanted: names, patterns ("blocks.*.hook_q"), or a question asked of each name.

    In a pattern `*` stands for any letters and `?` for one, as in a shell. A name or pattern that takes nothing is an
    error, also among others that take something.

    Raises
    ------
    HookNameError
        If a name does not exist (near matches are shown), or nothing at all is wanted.

    Examples
    --------
    >>> match_names(["blocks.0.attn.hook_q", "blocks.1.attn.hook_q", "blocks.1.attn.hook_k"], "blocks.1.*", "here")
    ('blocks.1.attn.hook_q', 'blocks.1.attn.hook_k')
    """
    if callable(wanted):
        found = tuple(name for name in names if wanted(name))
    else:
        taken: dict[str, None] = {}
        for asked in (wanted,) if isinstance(wanted, str) else _require_names(wanted, where):
            is_pattern = "*" in asked or "?" in asked
            matching = fnmatch.filter(names, asked) if is_pattern else [asked] * (asked in names)
            if not matching:
                raise _unknown_name_error(names, asked, where)
            taken.update(dict.fromkeys(matching))
        found = tuple(taken)
    if not found:
        raise HookNameError(
            expected=f"at least one of {len(names)} hook names",
            got="a filter that takes none",
            where=f"in {where}",
            remedy=f"ask for names like {quote(next(iter(names)))}",
        )
    return found


def _require_names(wanted: object, where: str) -> list[str]:
    names: list[Any] = list(wanted) if isinstance(wanted, Iterable) else [wanted]
    if all(isinstance(name, str) for name in names):
        return names
    raise HookNameError(
        expected="hook names, patterns, or a question asked of each name",
        got=quote(wanted),
        where=f"in {where}",
        remedy='write for instance "blocks.*.attn.hook_frame_mass"',
    )


def _unknown_name_error(names: Collection[str], name: str, where: str) -> HookNameError:
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.0)
    shown = ", ".join(quote(match) for match in near)
    return HookNameError(
        expected=f"one of {len(names)} hook names",
        got=quote(name),
        where=f"in {where}",
        remedy=f"did you mean {shown}?",
    )
