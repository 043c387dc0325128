"""Is every way right on this device? Asked before anything is timed, and before `auto` may take it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ._settings import kernel_obstacle
from .attend import shot_attention
from .mass import frame_mass

# Cumulative tokens of query and key groups, uneven, the last of the keys being text; and what else computes so few.
LONG = ((0, 130, 193, 400), (0, 130, 193, 400, 477))
SHORT = ((0, 2, 5, 9), (0, 2, 5, 9, 13))
Offsets = tuple[tuple[int, ...], tuple[int, ...]]
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}


class Fault(NamedTuple):
    """A way that is off: of which operation (`attention` or `mass`), and by how much, in words."""

    operation: str
    way: str
    dtype: torch.dtype
    words: str


def find_faults(device: str, dtypes: Sequence[torch.dtype] = tuple(TOLERANCE)) -> list[Fault]:
    """Compare every way with the definition, forward and backward; one entry for each that is off."""
    return [
        fault
        for dtype in dtypes
        for size in (64, 128)
        for offsets in (LONG, SHORT)
        for fault in _faults_in(device, dtype, size, offsets)
    ]


def _faults_in(device: str, dtype: torch.dtype, size: int, offsets: Offsets) -> list[Fault]:
    generator = torch.Generator().manual_seed(1)
    num_queries, num_keys = offsets[0][-1], offsets[1][-1]
    query, key, value, weight = (
        torch.randn(2, n, 3, size, generator=generator).to(device, dtype)
        for n in (num_queries, num_keys, num_keys, num_queries)
    )
    found: list[Fault] = []
    ways = ["chunked", "split"]
    kind = torch.device(device)
    if kind.type == "cuda" and not kernel_obstacle(kind, dtype, size):
        ways.append("kernel")
    for name, relation in _relations().items():
        told = f"{name}, {num_keys} keys, {dtype}, head size {size}"
        given = (query, key, value, weight, relation, offsets)
        expected = _attend("reference", *given, double=True)
        for way in (*ways, *(["short"] if offsets == SHORT else [])):
            got = _attend(way, *given)
            for part, one, other in zip(("output", "dQ", "dK", "dV"), got, expected, strict=True):
                error = float((one.double() - other).abs().max() / other.abs().max())
                # a gradient of 16-bit inputs sums more roundings than an output
                limit = TOLERANCE[dtype] * (1.5 if part != "output" and dtype != torch.float32 else 1)
                if not error <= limit:
                    found.append(Fault("attention", way, dtype, f"{way} {part} off by {error:.1e} ({told})"))
        found += _faults_of_mass(ways, (query, key, value), relation, offsets, told)
    return found


def _attend(
    way: str,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weight: Tensor,
    relation: Tensor,
    offsets: Offsets,
    double: bool = False,
) -> list[Tensor]:
    leaves = [
        t.detach().to(torch.float64 if double else t.dtype).requires_grad_() for t in (query, key, value)
    ]
    output = shot_attention(
        *leaves, relation, query_offsets=offsets[0], key_offsets=offsets[1], implementation=way
    )  # type: ignore[call-overload]
    return [output.detach(), *torch.autograd.grad(output, leaves, weight.to(output.dtype))]


def _faults_of_mass(
    ways: list[str], tensors: tuple[Tensor, Tensor, Tensor], relation: Tensor, offsets: Offsets, told: str
) -> list[Fault]:
    grouped: dict[str, Any] = {"query_offsets": offsets[0], "key_offsets": offsets[1]}
    exact = frame_mass(
        *(t.double() for t in tensors),
        relation=relation,
        **grouped,
        implementation="reference",
    ).mass
    is_half_on_gpu = tensors[0].device.type == "cuda" and tensors[0].dtype != torch.float32
    is_cpu = tensors[0].device.type == "cpu"
    ways = [way for way in ways if way != "split" or is_cpu or is_half_on_gpu]
    if is_half_on_gpu and not bool(relation.any()) and "kernel" in ways:
        ways.append("second_pass")
    found: list[Fault] = []
    for way, with_value in itertools.product(ways, (True, False)):
        if not with_value and way in ("split", "second_pass"):
            continue
        given = tensors if with_value else tensors[:2]
        mass = frame_mass(*given, relation=relation, **grouped, implementation=way).mass  # type: ignore[arg-type]
        error = float((mass.double() - exact).abs().max())
        hidden = mass[torch.isneginf(relation.expand(mass.shape)).to(mass.device)]
        # 16-bit products round the log-sum-exp of a flash call; the scores themselves are summed in float32
        if not error <= (1e-5 if tensors[0].dtype == torch.float32 else 1e-3) or bool((hidden != 0).any()):
            found.append(Fault("mass", way, tensors[0].dtype, f"{way} mass off by {error:.1e} ({told})"))
    return found


def _relations() -> dict[str, Tensor]:
    whole = torch.zeros(3, 4)
    shots = whole.clone()
    shots[0, 2] = shots[1, 2] = shots[2, 1] = -torch.inf
    soft = torch.randn(2, 3, 3, 4, generator=torch.Generator().manual_seed(2))
    soft[..., 1, 2] = -torch.inf
    return {"whole": whole, "shots and first frame": shots, "soft, by head and entry": soft}
