"""Attention under a frame relation on short sequences: one ordinary call with a mask of frames by frames.

A UNet attends over its 8 to 64 frames at every place of the picture by itself. A mask of so few tokens is nothing to
hold, and one call for tens of thousands of places beats one call a shot. A hidden key weighs exactly 0 here too, but
is read: a NaN in it would show.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from .._groups import group_of_token
from .._relation import Offsets, tensor_of


def attend_at_once(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    query_offsets: Offsets,
    key_offsets: Offsets,
    scale: float,
    relation: Tensor,
) -> tuple[Tensor, None]:
    """Return softmax(scale * Q K^T + bias) V, (batch, tokens, heads, head size), differentiable; no log-sum-exp."""
    q, k, v = (tensor.transpose(1, 2) for tensor in (query, key, value))
    numbers = relation.contiguous().numpy().tobytes()
    mask = _mask(numbers, relation.shape, query_offsets, key_offsets, query.dtype, query.device)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale).transpose(1, 2), None


@functools.lru_cache(maxsize=64)
def _mask(
    numbers: bytes,
    shape: torch.Size,
    query_offsets: Offsets,
    key_offsets: Offsets,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """The relation by tokens, as it is added to the scores; the same one comes again at every layer and step."""
    with torch.inference_mode(False), torch.device("cpu"):
        relation = tensor_of(numbers, shape)
        rows, columns = (group_of_token(offsets, relation.device) for offsets in (query_offsets, key_offsets))
        # relative to the largest of the row, before 16 bits round them: what is added to all changes nothing
        relative = relation - relation.amax(-1, keepdim=True)
        return relative[:, :, rows][..., columns].to(device, dtype)
