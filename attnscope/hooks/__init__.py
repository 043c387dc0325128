"""Hook points in the attention of a video model: look, replace, label, and leave without a trace."""

from __future__ import annotations

from attnscope.hooks.attachment import Attachment, attach, find_attachment, join_or_attach
from attnscope.hooks.attention import describe_way
from attnscope.hooks.calls import Call
from attnscope.hooks.facade import as_nnsight
from attnscope.hooks.interrupts import defer_interrupts
from attnscope.hooks.parallel import Heads
from attnscope.hooks.points import HookPoint
from attnscope.hooks.running import Record, hook_points, run_with_cache, run_with_hooks
from attnscope.hooks.tap import Tap

nnsight = as_nnsight  # so that the package offers it as attnscope.nnsight

__all__ = [
    "Attachment",
    "Call",
    "Heads",
    "HookPoint",
    "Record",
    "Tap",
    "as_nnsight",
    "attach",
    "defer_interrupts",
    "describe_way",
    "find_attachment",
    "hook_points",
    "join_or_attach",
    "nnsight",
    "run_with_cache",
    "run_with_hooks",
]
