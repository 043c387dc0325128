"""Is every path right on this device? Asked before anything is timed."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from attnscope_kernels import frame_mass, shot_attention

OFFSETS = (0, 130, 193, 400)
KEYS = (0, 130, 193, 400, 477)  # the last group is text
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}


def wrong(device: str) -> list[str]:
    """Compare every path with the definition, forward and backward; a line for each that is off."""
    return [line for dtype in TOLERANCE for size in (64, 128) for line in _wrong_in(device, dtype, size)]


def _wrong_in(device: str, dtype: torch.dtype, size: int) -> list[str]:
    generator = torch.Generator().manual_seed(1)
    query, key, value, weight = (
        torch.randn(2, n, 3, size, generator=generator).to(device, dtype) for n in (400, 477, 477, 400)
    )
    found = []
    ways = ["chunked", "split"]
    if device == "cuda":
        ways.append("kernel")
    for name, relation in _relations().items():
        expected = _attend("reference", query, key, value, weight, relation, double=True)
        for way in ways:
            got = _attend(way, query, key, value, weight, relation)
            for part, one, other in zip(("output", "dQ", "dK", "dV"), got, expected, strict=True):
                error = float((one.double() - other).abs().max() / other.abs().max())
                # a gradient of 16-bit inputs sums more roundings than an output
                limit = TOLERANCE[dtype] * (1.5 if part != "output" and dtype != torch.float32 else 1)
                if not error <= limit:
                    found.append(f"{way} {part} off by {error:.1e} ({name}, {dtype}, head size {size})")
        found += _wrong_mass(device, ways, (query, key, value), relation, name)
    return found


def _attend(
    way: str,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weight: Tensor,
    relation: Tensor,
    double: bool = False,
) -> list[Tensor]:
    leaves = [
        t.detach().to(torch.float64 if double else t.dtype).requires_grad_() for t in (query, key, value)
    ]
    output = shot_attention(*leaves, relation, query_offsets=OFFSETS, key_offsets=KEYS, implementation=way)  # type: ignore[call-overload]
    return [output.detach(), *torch.autograd.grad(output, leaves, weight.to(output.dtype))]


def _wrong_mass(
    device: str, ways: list[str], tensors: tuple[Tensor, Tensor, Tensor], relation: Tensor, name: str
) -> list[str]:
    grouped = {"query_offsets": OFFSETS, "key_offsets": KEYS}
    exact = frame_mass(
        *(t.double() for t in tensors), relation=relation, **grouped, implementation="reference"
    ).mass
    is_half_on_gpu = device == "cuda" and tensors[0].dtype != torch.float32
    ways = [way for way in ways if way != "split" or device == "cpu" or is_half_on_gpu]
    if is_half_on_gpu and name == "whole":
        ways.append("second_pass")
    found = []
    for way, with_value in itertools.product(ways, (True, False)):
        if not with_value and way in ("split", "second_pass"):
            continue
        given = tensors if with_value else tensors[:2]
        mass = frame_mass(*given, relation=relation, **grouped, implementation=way).mass  # type: ignore[arg-type]
        error = float((mass.double() - exact).abs().max())
        hidden = mass[torch.isneginf(relation.expand(mass.shape)).to(mass.device)]
        # 16-bit products round the log-sum-exp of a flash call; the scores themselves are summed in float32
        if not error <= (1e-5 if tensors[0].dtype == torch.float32 else 1e-3) or bool((hidden != 0).any()):
            found.append(f"{way} mass off by {error:.1e} ({name}, {tensors[0].dtype})")
    return found


def _relations() -> dict[str, Tensor]:
    whole = torch.zeros(3, 4)
    shots = whole.clone()
    shots[0, 2] = shots[1, 2] = shots[2, 1] = -torch.inf
    soft = torch.randn(2, 3, 3, 4, generator=torch.Generator().manual_seed(2))
    soft[..., 1, 2] = -torch.inf
    return {"whole": whole, "shots and first frame": shots, "soft, by head and entry": soft}
