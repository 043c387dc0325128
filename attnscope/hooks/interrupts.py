"""Ctrl-C waits while objects change hands: it never falls between putting a tap in and being able to take it out."""

from __future__ import annotations

import _thread
import contextlib
import signal
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, TypeVar

# After how long it is asked again whether Ctrl-C may be heard.
_MOMENT_S = 0.01

Function = TypeVar("Function", bound=Callable[..., object])

_whole: set[CodeType] = set()
# What runs a generator that is a context, before and after its block.
_AROUND = {
    contextlib._GeneratorContextManager.__enter__.__code__,
    contextlib._GeneratorContextManager.__exit__.__code__,
}


def defer_interrupts(function: Function) -> Function:
    """Let a function, or a context before and after its block, run to its end before Ctrl-C is heard.

    That goes for the main thread, where Python raises KeyboardInterrupt, and while `Interrupts` are held.
    """
    _whole.add(function.__code__)
    return function


class Interrupts:
    """Stands before whoever hears SIGINT, from `hold` until `release`; several may be held at once."""

    def __init__(self) -> None:
        self._num_held = 0
        self._before: Any = None

    def hold(self) -> None:
        """Begin to let Ctrl-C wait for functions that are `defer_interrupts`. Does nothing beside the main thread."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._num_held += 1
        before = signal.getsignal(signal.SIGINT)
        if callable(before) and before != self._handle:
            self._before = before
            signal.signal(signal.SIGINT, self._handle)

    def release(self) -> None:
        """Put back whoever heard before, unless somebody else hears by now."""
        if threading.current_thread() is not threading.main_thread() or not self._num_held:
            return
        self._num_held -= 1
        if not self._num_held and signal.getsignal(signal.SIGINT) == self._handle:
            signal.signal(signal.SIGINT, self._before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if _is_within(frame):
            again = threading.Timer(_MOMENT_S, _thread.interrupt_main)
            again.daemon = True
            again.start()
        else:
            self._before(number, frame)


def _is_within(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code in _whole:
            return True
        if frame.f_code in _AROUND and frame.f_locals["self"].gen.gi_code in _whole:
            return True
        frame = frame.f_back
    return False


INTERRUPTS = Interrupts()
"""Of this process."""
