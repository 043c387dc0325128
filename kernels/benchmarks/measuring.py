"""How long, how much memory, how exact: measured the same way for ours and for others."""

from __future__ import annotations

import gc
import statistics
import time
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from cases import Shape
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Timing(NamedTuple):
    """Median milliseconds of a run, and the distance of its quartiles."""

    ms: float
    spread_ms: float


def time_together(
    candidates: dict[str, Callable[[], object]], device: str, repeats: int
) -> dict[str, Timing]:
    """Time all candidates in turn, again and again, so that a slow minute of the machine is shared by all."""
    for run in candidates.values():
        run()
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(repeats):
        for name, run in candidates.items():
            taken[name].append(_once(run, device))
    found = {}
    for name, times in taken.items():
        low, middle, high = statistics.quantiles(times, n=4)
        found[name] = Timing(middle, high - low)
    return found


def _once(run: Callable[[], object], device: str) -> float:
    if device == "cuda":
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        stop.record()
        torch.cuda.synchronize()
        return start.elapsed_time(stop)
    before = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - before)


def peak_mib(run: Callable[[], object], device: str) -> float | None:
    """Memory at the worst moment of a run, beyond what was there before; None where it cannot be followed."""
    gc.collect()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    try:
        with _Allocations() as allocations:
            run()
    except NotImplementedError:
        # compiled operators (FlexAttention) do not run under the eye that follows allocations
        return None
    return allocations.peak / 2**20


class _Allocations(TorchDispatchMode):
    """Follows the storages that operations return, since the CPU keeps no such book."""

    def __init__(self) -> None:
        super().__init__()
        self._alive: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, function: Any, types: object, args: Any = (), kwargs: Any = None) -> object:
        result = function(*args, **(kwargs or {}))
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in given and storage._cdata not in self._alive:
                    self._alive[storage._cdata] = storage.nbytes()
                    weakref.finalize(storage, self._alive.pop, storage._cdata, None)
        self.peak = max(self.peak, sum(self._alive.values()))
        return result


def matmul_tflops(device: str, dtype: torch.dtype) -> float:
    """The rate of plain matrix products here: what any attention is held against."""
    size = 8192 if device == "cuda" else 1024
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    timing = time_together({"matmul": lambda: a @ b}, device, repeats=20)["matmul"]
    return 2 * size**3 / timing.ms / 1e9


def output_error(output: Tensor, tensors: tuple[Tensor, Tensor, Tensor], shape: Shape, seen: Tensor) -> float:
    """Largest error of 64 output rows of one head against the definition, relative to the largest value."""
    rows = torch.linspace(0, shape.tokens - 1, min(64, shape.tokens)).long()
    q, k, v = (tensor[0, :, -1].double().cpu() for tensor in tensors)
    scores = q[rows] @ k.T * shape.size**-0.5
    there = seen.repeat_interleave(shape.tokens_a_frame, 1)[rows // shape.tokens_a_frame]
    exact = scores.masked_fill(~there, -torch.inf).softmax(-1) @ v
    return float((output[0, rows, -1].double().cpu() - exact).abs().max() / exact.abs().max())


def mass_error(mass: Tensor, tensors: tuple[Tensor, Tensor, Tensor], shape: Shape) -> float:
    """Largest error of one frame's mass against the definition, in one head; over all places for a UNet."""
    frame = shape.frames // 2
    width = shape.tokens_a_frame
    q, k = (tensor[:, :, -1].double().cpu() for tensor in tensors[:2])
    scores = q[:, width * frame : width * (frame + 1)] @ k.mT * shape.size**-0.5
    shares = scores.softmax(-1).unflatten(-1, (shape.frames, -1)).sum(-1)
    return float((mass[0, -1, frame].double().cpu() - shares.mean((0, 1))).abs().max())
