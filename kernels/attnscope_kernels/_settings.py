"""Tile sizes, warps and stages of every kernel: one table, made offline from compiled code, no tuning at run time.

Each row compiles for sm_90 and sm_80 without spilling registers; `kernels/benchmarks/resources.py` records that and
a test bounds it. Nothing here was chosen by a clock yet: that takes a GPU.
"""

from __future__ import annotations

import os
from typing import Literal, NamedTuple

import torch

Kernel = Literal["forward", "second_pass", "backward_query", "backward_key"]


class Setting(NamedTuple):
    """How a kernel is launched: rows and columns of a tile, warps a program, stages of the load pipeline."""

    rows: int
    columns: int
    num_warps: int
    num_stages: int


# (kernel, largest padded head size) -> setting, for 16-bit floats. Rows are query tokens, but for the
# gradients of key and value, whose rows are key tokens.
HALF: dict[tuple[Kernel, int], Setting] = {
    ("forward", 64): Setting(128, 64, 4, 3),
    ("forward", 128): Setting(128, 64, 8, 3),
    ("second_pass", 64): Setting(128, 64, 4, 3),
    ("second_pass", 128): Setting(128, 64, 8, 3),
    ("backward_query", 64): Setting(128, 64, 8, 2),
    ("backward_query", 128): Setting(128, 64, 8, 2),
    ("backward_key", 64): Setting(128, 64, 8, 2),
    ("backward_key", 128): Setting(64, 64, 8, 2),
}
# Full precision multiplies on the plain cores, not the tensor cores: small tiles.
FULL = Setting(32, 32, 8, 1)
# The interpreter pays for every operation, not for its size, and its tests want several tiles.
INTERPRETED = Setting(32, 32, 1, 1)

MAX_HEAD_SIZE = 128


def is_interpreted() -> bool:
    """Whether kernels run in Triton's interpreter, on the CPU, as the tests do."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def padded_head_size(head_size: int) -> int:
    """Return the head size of a tile: the next power of two, at least 16.

    >>> padded_head_size(24)
    32
    """
    return max(16, 1 << (head_size - 1).bit_length())


def setting(kernel: Kernel, head_size: int, dtype: torch.dtype) -> Setting:
    """Say how a kernel is launched for this head size and type."""
    if is_interpreted():
        return INTERPRETED
    return FULL if dtype == torch.float32 else HALF[kernel, max(64, padded_head_size(head_size))]


def kernel_obstacle(device: torch.device, dtype: torch.dtype, head_size: int) -> str:
    """Say why the kernels cannot run on such tensors; nothing if they can."""
    if device.type != "cuda" and not (device.type == "cpu" and is_interpreted()):
        return f"Triton kernels run on CUDA devices, not on {device.type}"
    if dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return f"Triton kernels compute in 16 or 32 bits, not in {str(dtype).removeprefix('torch.')}"
    if head_size > MAX_HEAD_SIZE:
        return f"Triton kernels hold heads of at most {MAX_HEAD_SIZE}, not {head_size}"
    try:
        import triton  # noqa: F401
    except ImportError:
        return "triton is not installed"
    return ""
