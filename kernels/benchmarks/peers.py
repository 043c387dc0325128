"""What others offer for the same job: each peer is a function of query, key and value (B, N, H, D)."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from cases import Plan, Shape
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

Peer = Callable[[Tensor, Tensor, Tensor], Tensor]

BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}


def sdpa(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """PyTorch's attention, whichever backend it picks."""
    q, k, v = (tensor.transpose(1, 2) for tensor in (query, key, value))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)


def peers_without_rule(device: str) -> Iterator[tuple[str, Peer]]:
    """Attention without any rule; on CUDA also each backend by name."""
    yield "sdpa", sdpa
    if device == "cuda":
        for name, backend in BACKENDS.items():
            yield f"sdpa {name}", _with_backend(backend)
    if device == "cuda" and importlib.util.find_spec("flash_attn"):
        from flash_attn import flash_attn_func

        yield "flash-attn", flash_attn_func


def _with_backend(backend: SDPBackend) -> Peer:
    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        with sdpa_kernel(backend):
            return sdpa(query, key, value)

    return attend


def peers_with_rule(device: str, shape: Shape, plan: Plan, flex: bool) -> Iterator[tuple[str, Peer]]:
    """Attention in which frames see the frames of their shot (and the first)."""
    seen = plan.visible_pairs(shape.frames)
    if shape.tokens <= 40_000:
        dense = (
            seen.repeat_interleave(shape.tokens_a_frame, 0)
            .repeat_interleave(shape.tokens_a_frame, 1)
            .to(device)
        )
        yield "sdpa, dense mask", lambda q, k, v: sdpa(q, k, v, dense)
    if not plan.first_frame:
        yield "sdpa, per shot", lambda q, k, v: _per_shot(q, k, v, shape, plan)
        if importlib.util.find_spec("xformers"):
            yield "xformers, block-diagonal", _xformers(shape, plan)
    if flex and shape.batch == 1:
        yield "FlexAttention", _flex(device, shape, seen)


def _per_shot(query: Tensor, key: Tensor, value: Tensor, shape: Shape, plan: Plan) -> Tensor:
    width = shape.tokens_a_frame
    spans = [slice(width * start, width * stop) for start, stop in plan.shots(shape.frames)]
    return torch.cat([sdpa(query[:, span], key[:, span], value[:, span]) for span in spans], 1)


def _xformers(shape: Shape, plan: Plan) -> Peer:
    from xformers.ops import memory_efficient_attention
    from xformers.ops.fmha.attn_bias import BlockDiagonalMask

    lengths = [shape.tokens_a_frame * (stop - start) for start, stop in plan.shots(shape.frames)]
    bias = BlockDiagonalMask.from_seqlens(lengths)
    return lambda q, k, v: memory_efficient_attention(q, k, v, attn_bias=bias)


def _flex(device: str, shape: Shape, seen: Tensor) -> Peer:
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    table, width = seen.to(device), shape.tokens_a_frame

    def is_seen(batch: Tensor, head: Tensor, row: Tensor, column: Tensor) -> Tensor:
        return table[row // width, column // width]

    mask = create_block_mask(is_seen, None, None, shape.tokens, shape.tokens, device=device)
    compiled = torch.compile(flex_attention, dynamic=False)

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        q, k, v = (tensor.transpose(1, 2) for tensor in (query, key, value))
        output: Tensor = compiled(q, k, v, block_mask=mask)
        return output.transpose(1, 2)

    return attend


def maps_by_head(query: Tensor, key: Tensor, value: Tensor, shape: Shape) -> tuple[Tensor, Tensor]:
    """What people do for maps: the whole softmax of one head at a time, then its sums."""
    masses, outputs = [], []
    for head in range(shape.heads):
        q, k, v = (tensor[:, :, head] for tensor in (query, key, value))
        pattern = (q @ k.mT * shape.size**-0.5).softmax(-1)
        masses.append(_sums(pattern, shape))
        outputs.append(pattern @ v)
    return torch.stack(outputs, 2), torch.stack(masses, 1)


def maps_by_frame(query: Tensor, key: Tensor, value: Tensor, shape: Shape) -> tuple[Tensor, Tensor]:
    """What people do where the whole does not fit: the softmax of one query frame at a time, all heads."""
    masses, outputs = [], []
    k, v = key.transpose(1, 2), value.transpose(1, 2)
    for start in range(0, shape.tokens, shape.tokens_a_frame):
        q = query[:, start : start + shape.tokens_a_frame].transpose(1, 2)
        pattern = (q @ k.mT * shape.size**-0.5).softmax(-1)
        masses.append(pattern.unflatten(-1, (shape.frames, -1)).sum(-1).mean(-2))
        outputs.append((pattern @ v).transpose(1, 2))
    return torch.cat(outputs, 1), torch.stack(masses, 2)


def _sums(pattern: Tensor, shape: Shape) -> Tensor:
    return pattern.unflatten(-1, (shape.frames, -1)).sum(-1).unflatten(-2, (shape.frames, -1)).mean(-2)
