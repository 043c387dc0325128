"""Measure a device: which ways are right on it, and how fast each is at shapes of real models."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ._device_table import DeviceTable, Rates, Timing, device_name, name_of, versions
from ._relation import Offsets, whole_relation
from ._select import attention_obstacles, mass_obstacles
from ._settings import is_interpreted
from .attend import shot_attention
from .gate import find_faults
from .mass import frame_mass

OnPart = Callable[[int, int], None]
Ways = dict[str, Callable[[], object]]


@dataclass(frozen=True)
class MeasuredShape:
    """One attention call of a model: frames, tokens a frame, heads, head size; `batch` counts places for a UNet."""

    frames: int
    tokens_a_frame: int
    heads: int
    size: int
    batch: int = 1

    @property
    def offsets(self) -> tuple[int, ...]:
        """Cumulative token counts of the frames."""
        return tuple(range(0, self.frames * self.tokens_a_frame + 1, self.tokens_a_frame))

    def draw(self, device: str, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Random query, key and value."""
        generator = torch.Generator().manual_seed(0)
        shape = (self.batch, self.frames * self.tokens_a_frame, self.heads, self.size)
        query, key, value = (torch.randn(shape, generator=generator).to(device, dtype) for _ in range(3))
        return query, key, value


# Calls of the embedded model, of a UNet's two levels, of Wan2.1 1.3B in small and at 480p, of CogVideoX.
CPU_SHAPES = (
    MeasuredShape(13, 16, 4, 32),
    MeasuredShape(16, 1, 8, 40, batch=64),
    MeasuredShape(16, 1, 8, 40, batch=1024),
    MeasuredShape(21, 64, 12, 128),
    MeasuredShape(21, 256, 4, 64),
)
CUDA_SHAPES = (
    MeasuredShape(13, 16, 4, 32),
    MeasuredShape(16, 1, 8, 40, batch=8192),
    MeasuredShape(21, 256, 12, 128),
    MeasuredShape(13, 1350, 48, 64),
    MeasuredShape(21, 1560, 12, 128),
)
CPU_TYPES = (torch.float32, torch.bfloat16)
CUDA_TYPES = (torch.bfloat16, torch.float16)
_MATRIX = {"cpu": 1024, "cuda": 8192}


def measure_device(
    device: str = "cpu", *, budget_s: float = 60.0, on_part: OnPart | None = None
) -> DeviceTable:
    """Check every way against its definition here, and time those that are right.

    All ways of an operation run in turn, again and again, and the least of their times counts: whatever else the
    machine does, it slows all of them. Nothing is written; :meth:`DeviceTable.write` keeps the table for `auto`.

    Parameters
    ----------
    device : str
        `cpu`, `cuda`, `cuda:1`.
    budget_s : float
        About how long it may take; each way runs at least twice.
    on_part : callable, optional
        Told how far it is, as (done, total).
    """
    kind = torch.device(device)
    is_cpu = kind.type == "cpu"
    shapes, types = (CPU_SHAPES, CPU_TYPES) if is_cpu else (CUDA_SHAPES, CUDA_TYPES)
    faults = find_faults(device, types)
    wrong = {(fault.operation, fault.way, fault.dtype) for fault in faults}
    places = list(itertools.product(types, shapes))
    timings: list[Timing] = []
    speeds: dict[str, Rates] = {}
    for index, (dtype, shape) in enumerate(places):
        tensors = shape.draw(device, dtype)
        for operation, ways in _list_operations(shape, tensors):
            subject = "mass" if operation.startswith("mass") else "attention"
            right = {way: run for way, run in ways.items() if (subject, way, dtype) not in wrong}
            seconds = time_in_turn(right, kind, budget_s / len(places) / 4)
            timings += [_note_timing(operation, dtype, shape, way, taken) for way, taken in seconds.items()]
        speeds[name_of(dtype)] = _derive_rates(kind, dtype, shape, tensors, timings)
        if on_part is not None:
            on_part(index + 1, len(places))
    said = tuple((fault.operation, fault.way, name_of(fault.dtype), fault.words) for fault in faults)
    return DeviceTable(device_name(kind), versions(), said, tuple(timings), speeds)


def _list_operations(
    shape: MeasuredShape, tensors: tuple[Tensor, Tensor, Tensor]
) -> Iterator[tuple[str, Ways]]:
    query, key, value = tensors
    grouped: dict[str, Offsets] = {"query_offsets": shape.offsets, "key_offsets": shape.offsets}
    looks: Callable[..., object] = frame_mass
    for operation, given in (("mass", (query, key)), ("mass and output", (query, key, value))):
        yield (
            operation,
            {
                way: functools.partial(looks, *given, **grouped, num_places=shape.batch, implementation=way)
                for way in _list_possible(mass_obstacles(query, with_output=len(given) == 3), shape)
            },
        )
    attends: Callable[..., object] = shot_attention
    shots = torch.arange(shape.frames) < shape.frames // 2
    hard = whole_relation(shape.frames, shape.frames)[0, 0].masked_fill(shots[:, None] != shots, -torch.inf)
    hard[:, 0] = 0.0
    soft = hard.clamp_min(-2.0)
    for operation, relation in (("hard mask", hard), ("soft mask", soft)):
        yield (
            operation,
            {
                way: functools.partial(attends, *tensors, relation, **grouped, implementation=way)
                for way in _list_possible(attention_obstacles(query, relation), shape)
            },
        )


def _list_possible(obstacles: dict[str, str], shape: MeasuredShape) -> list[str]:
    """The ways that can do this at this shape; a call for each single token would take minutes."""
    ways = [way for way, obstacle in obstacles.items() if not obstacle]
    if is_interpreted():
        ways = [way for way in ways if way not in ("kernel", "second_pass")]
    return [way for way in ways if way != "split" or shape.tokens_a_frame > 1] if shape.batch > 1 else ways


def time_in_turn(ways: Ways, device: torch.device, budget_s: float) -> dict[str, float]:
    """Return the least seconds of each way: all run in turn, twice and then as long as the budget lasts."""
    for run in ways.values():
        run()
    least = dict.fromkeys(ways, float("inf"))
    began, rounds = time.perf_counter(), 0
    while ways and (rounds < 2 or (time.perf_counter() - began < budget_s and rounds < 200)):
        for way, run in ways.items():
            least[way] = min(least[way], _time_once(run, device))
        rounds += 1
    return least


def _time_once(run: Callable[[], object], device: torch.device) -> float:
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda *_: None
    wait(device)
    before = time.perf_counter()
    run()
    wait(device)
    return time.perf_counter() - before


def _note_timing(
    operation: str, dtype: torch.dtype, shape: MeasuredShape, way: str, seconds: float
) -> Timing:
    tokens = shape.frames * shape.tokens_a_frame
    return Timing(
        operation, name_of(dtype), shape.batch, tokens, shape.frames, shape.heads, shape.size, way, seconds
    )


def _derive_rates(
    device: torch.device,
    dtype: torch.dtype,
    shape: MeasuredShape,
    tensors: tuple[Tensor, Tensor, Tensor],
    timings: list[Timing],
) -> Rates:
    """The speeds at the last, largest shape."""
    query, key, value = (each.transpose(1, 2) for each in tensors)
    size = _MATRIX[device.type]
    matrix = torch.randn(size, size).to(device, dtype)
    seconds = time_in_turn(
        {
            "attention": lambda: torch.nn.functional.scaled_dot_product_attention(query, key, value),
            "linear": lambda: matrix @ matrix,
        },
        device,
        1.0,
    )
    product = 2.0 * query.shape[0] * query.shape[1] * query.shape[2] ** 2 * shape.size
    looks = [row.least_s for row in timings if row.operation == "mass" and row.tokens == query.shape[2]]
    return Rates(
        attention=2 * product / seconds["attention"],
        linear=2.0 * size**3 / seconds["linear"],
        mass=product / min(looks, default=float("inf")),
    )
