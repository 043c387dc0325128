"""Which implementation computes a frame mass, and why: chosen from the shapes, never in silence."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch

Implementation = Literal["auto", "reference", "chunked", "split"]

# Below this many tokens in a key group, one call per group costs more than it saves (measured, 1 CPU thread).
SPLIT_MIN_TOKENS = 192


class Choice(NamedTuple):
    """The name of the implementation that will run, and the reason in words."""

    name: str
    reason: str


def select(
    *,
    device: str | torch.device,
    num_tokens: int,
    num_groups: int,
    with_output: bool,
    needs_gradient: bool,
    implementation: Implementation = "auto",
) -> Choice:
    """Say which way the frame mass will be computed for tensors of this shape, and why.

    All ways are exact; they differ in speed only. `num_tokens` and `num_groups` count the keys.

    Raises
    ------
    ValueError
        If an implementation is asked for that does not exist or cannot do what is wanted.

    >>> select(device="cpu", num_tokens=5376, num_groups=21, with_output=True, needs_gradient=False).name
    'split'
    >>> select(device="cpu", num_tokens=5376, num_groups=21, with_output=False, needs_gradient=False).reason
    'only the mass is wanted'
    """
    if implementation not in get_args(Implementation):
        raise ValueError(
            f"expected an implementation out of {', '.join(get_args(Implementation))}, got {implementation!r}, "
            f"in frame_mass; use 'auto' to let the shapes decide"
        )
    obstacle = _split_obstacle(torch.device(device), with_output, needs_gradient)
    if implementation == "split" and obstacle:
        raise ValueError(
            f"expected a call that split + merge can do, got one where {obstacle}, in frame_mass; "
            f"use implementation='chunked'"
        )
    if implementation != "auto":
        return Choice(implementation, "asked for")
    if obstacle:
        return Choice("chunked", obstacle)
    if num_tokens < SPLIT_MIN_TOKENS * num_groups:
        return Choice("chunked", f"key groups hold fewer than {SPLIT_MIN_TOKENS} tokens")
    return Choice("split", "the output is wanted too and the key groups are large")


def _split_obstacle(device: torch.device, with_output: bool, needs_gradient: bool) -> str:
    if not with_output:
        return "only the mass is wanted"
    if needs_gradient:
        return "gradients are needed and the fused log-sum-exp has none"
    if device.type != "cpu":
        return f"the fused call with a log-sum-exp is used on cpu only, not on {device.type}"
    return ""
