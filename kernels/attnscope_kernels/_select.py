"""Which implementation computes a mass or an attention, and why: chosen from the shapes, never in silence."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from ._fused import fused_obstacle
from ._relation import is_whole, parts, runs
from ._settings import is_interpreted, kernel_obstacle

MassImplementation = Literal["auto", "reference", "chunked", "split", "kernel", "second_pass"]
AttendImplementation = Literal["auto", "reference", "short", "chunked", "split", "kernel"]

# Below this many tokens in a key group, one call per group costs more than it saves (measured, 1 CPU thread).
SPLIT_MIN_TOKENS = 192
# Sequences this short (the frames of a UNet's temporal attention) fill no tile; they are computed in large batches.
SHORT_TOKENS = 64
# As few calls as this ride on PyTorch's own fused attention, which has no waste where pairs are seen or not seen.
FEW_CALLS = 8


class Choice(NamedTuple):
    """The name of the implementation that will run, and the reason in words."""

    name: str
    reason: str


def select_mass(
    *,
    device: str | torch.device,
    num_tokens: int,
    num_groups: int,
    with_output: bool,
    needs_gradient: bool,
    dtype: torch.dtype = torch.float32,
    head_size: int = 128,
    is_plain: bool = True,
    implementation: MassImplementation = "auto",
) -> Choice:
    """Say which way the frame mass will be computed for tensors of this shape, and why.

    All ways are exact; they differ in speed only. `num_tokens` and `num_groups` count the keys; `is_plain` says that
    no frame relation is given.

    Raises
    ------
    ValueError
        If an implementation is asked for that does not exist or cannot do what is wanted.

    Examples
    --------
    >>> shape = {"num_tokens": 5376, "num_groups": 21, "needs_gradient": False}
    >>> select_mass(device="cpu", with_output=True, **shape).name
    'split'
    >>> select_mass(device="cpu", with_output=False, **shape).reason
    'only the mass is wanted'
    """
    device = torch.device(device)
    gradient = "gradients are needed and only the plain formula has them" if needs_gradient else ""
    obstacles = {
        "split": gradient or _no_output(with_output) or fused_obstacle(device, dtype, head_size),
        "kernel": gradient or kernel_obstacle(device, dtype, head_size),
        "second_pass": gradient
        or _no_output(with_output)
        or ("" if is_plain else "PyTorch's fused attention takes no frame relation")
        or kernel_obstacle(device, dtype, head_size)
        or fused_obstacle(device, dtype, head_size),
    }
    if implementation != "auto":
        return _choose_named(implementation, get_args(MassImplementation), obstacles, "frame_mass")
    if num_tokens <= SHORT_TOKENS:
        return Choice("chunked", f"sequences of at most {SHORT_TOKENS} tokens are computed in large batches")
    if not obstacles["kernel"] and not is_interpreted():
        return Choice("kernel", "one pass of the Triton kernel")
    if obstacles["split"]:
        return Choice("chunked", obstacles["split"])
    if num_tokens < SPLIT_MIN_TOKENS * num_groups:
        return Choice("chunked", f"key groups hold fewer than {SPLIT_MIN_TOKENS} tokens")
    return Choice("split", "the output is wanted too and the key groups are large")


def select_attention(
    *,
    device: str | torch.device,
    num_tokens: int,
    relation: Tensor,
    dtype: torch.dtype = torch.float32,
    head_size: int = 128,
    has_content: bool = False,
    with_lse: bool = False,
    needs_gradient: bool = False,
    implementation: AttendImplementation = "auto",
) -> Choice:
    """Say which way attention under this checked frame relation (batch or 1, heads or 1, F, G) will be computed.

    All ways are exact; they differ in speed only. `num_tokens` counts queries or keys, whichever are more.

    Raises
    ------
    ValueError
        If an implementation is asked for that does not exist or cannot do what is wanted.

    Examples
    --------
    >>> two_shots = torch.block_diag(torch.zeros(3, 3), torch.zeros(2, 2)).double()[None, None]
    >>> select_attention(device="cpu", num_tokens=5376, relation=two_shots).name
    'split'
    """
    device = torch.device(device)
    relation = relation[(None,) * (4 - relation.ndim)]
    content = "scores scaled by the row's largest take the plain formula" if has_content else ""
    long = f"sequences hold more than {SHORT_TOKENS} tokens" if num_tokens > SHORT_TOKENS else ""
    obstacles = {
        "short": content or long or ("a masked call gives no log-sum-exp" if with_lse else ""),
        "split": content or (_mask_with_lse(device, dtype, head_size, relation) if with_lse else ""),
        "kernel": content or kernel_obstacle(device, dtype, head_size),
    }
    if implementation != "auto":
        return _choose_named(implementation, get_args(AttendImplementation), obstacles, "shot_attention")
    if content:
        return Choice("chunked", content)
    if not obstacles["short"]:
        return Choice("short", f"sequences of at most {SHORT_TOKENS} tokens take one call with a small mask")
    if obstacles["kernel"] or is_interpreted():
        if obstacles["split"]:
            return Choice("chunked", obstacles["split"])
        return Choice("split", "frames that see the same share one fused call on sliced keys")
    cut = [runs(matrix) for _, _, matrix in parts(relation, relation.shape[0], relation.shape[1])]
    is_flat = all(run.is_flat for each in cut for run in each)
    if not obstacles["split"] and is_flat and sum(map(len, cut)) <= FEW_CALLS:
        return Choice("split", f"at most {FEW_CALLS} fused calls on sliced keys, without waste")
    return Choice("kernel", "one pass of the Triton kernel over the visible tiles")


def _no_output(with_output: bool) -> str:
    return "" if with_output else "only the mass is wanted"


def _mask_with_lse(device: torch.device, dtype: torch.dtype, head_size: int, relation: Tensor) -> str:
    obstacle = fused_obstacle(device, dtype, head_size)
    if not obstacle and device.type != "cpu" and not is_whole(relation):
        flat = all(
            run.is_flat for _, _, matrix in parts(relation, *relation.shape[:2]) for run in runs(matrix)
        )
        return "" if flat else "the fused call with a log-sum-exp takes no bias there"
    return obstacle


def _choose_named(name: str, known: tuple[str, ...], obstacles: dict[str, str], operation: str) -> Choice:
    if name not in known:
        raise ValueError(
            f"expected an implementation out of {', '.join(known)}, got {name!r}, "
            f"in {operation}; use 'auto' to let the shapes decide"
        )
    obstacle = obstacles.get(name, "")
    if obstacle:
        raise ValueError(
            f"expected a call that implementation={name!r} can do, got one where {obstacle}, "
            f"in {operation}; use implementation='chunked'"
        )
    return Choice(name, "asked for")
