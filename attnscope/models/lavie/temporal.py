"""Attention between the frames at one place of the picture, as LaVie has it: rotary positions and a bias by distance.

Legend: L places of all videos of a batch, F frames, H heads, D head size.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import apply_rotary_emb, get_1d_rotary_pos_embed
from torch import Tensor, nn
from typing_extensions import override

ROTARY_SIZE = 32
"""How many channels of a head are rotated by the frame's position; the others know nothing of it."""

NUM_BUCKETS = 32
MAX_DISTANCE_FRAME = 32


def bucket_of(
    distance_frame: Tensor, num_buckets: int = NUM_BUCKETS, max_distance_frame: int = MAX_DISTANCE_FRAME
) -> Tensor:
    """Say which bias a distance in time has: near ones each their own, far ones by octaves, past and future apart.

    `distance_frame` is the frame that is looked at less the one that looks. Half of the buckets are for frames that
    come later; of each half, the first half are exact distances and the others grow by a constant factor up to
    `max_distance_frame`, beyond which all are alike (T5, arXiv 1910.10683, section 2.1).

    >>> bucket_of(torch.tensor([0, -1, 1, -31, 100])).tolist()
    [0, 1, 17, 15, 31]
    """
    half = num_buckets // 2
    exact = half // 2
    size = distance_frame.abs()
    octaves = torch.log(size.clamp(min=1).float() / exact) / math.log(max_distance_frame / exact)
    far = exact + (octaves * (half - exact)).long()
    return (distance_frame > 0).long() * half + torch.where(size < exact, size, far.clamp(max=half - 1))


class RelativePositionBias(nn.Module):
    """What is added to the scores of a head for each distance in time; learned."""

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.relative_attention_bias = nn.Embedding(NUM_BUCKETS, num_heads)

    @override
    def forward(self, num_frames: int) -> Tensor:
        """Return the bias of every pair of frames, (H, F, F), the frame that looks first."""
        frames = torch.arange(num_frames, device=self.relative_attention_bias.weight.device)
        bias: Tensor = self.relative_attention_bias(bucket_of(frames[None, :] - frames[:, None]))
        return bias.permute(2, 0, 1)


class TemporalProcessor:
    """Rotates queries and keys by the position of their frame, adds the bias, attends."""

    _attention_backend = None
    _parallel_config = None

    def __call__(self, attn: TemporalAttention, hidden_states: Tensor) -> Tensor:
        """Return what the frames take from one another, (L, F, channels)."""
        query_LFHD, key_LFHD, value_LFHD = (
            project(hidden_states).unflatten(-1, (attn.heads, -1))
            for project in (attn.to_q, attn.to_k, attn.to_v)
        )
        bias_HFF = attn.time_rel_pos_bias(hidden_states.shape[1])
        output: Tensor = dispatch_attention_fn(
            rotate(query_LFHD),
            rotate(key_LFHD),
            value_LFHD,
            attn_mask=bias_HFF[None].to(query_LFHD.dtype),
            backend=self._attention_backend,
            parallel_config=self._parallel_config,
        )
        projected: Tensor = attn.to_out[0](output.flatten(2))
        return projected


def rotate(heads_LFHD: Tensor) -> Tensor:
    """Turn neighbouring pairs of the first channels of each head by angles that grow with the frame's position."""
    size = min(ROTARY_SIZE, heads_LFHD.shape[-1])
    angles: Any = get_1d_rotary_pos_embed(size, heads_LFHD.shape[1], use_real=True)
    turned: Any = apply_rotary_emb(heads_LFHD[..., :size], angles, sequence_dim=1)
    return torch.cat([turned, heads_LFHD[..., size:]], -1)


class TemporalAttention(Attention):
    """Every frame looks at every frame, at one place of the picture."""

    def __init__(self, channels: int, num_heads: int) -> None:
        processor: Any = TemporalProcessor()
        super().__init__(channels, heads=num_heads, dim_head=channels // num_heads, processor=processor)
        self.time_rel_pos_bias = RelativePositionBias(num_heads)

    @override
    def forward(self, hidden_states: Tensor) -> Tensor:  # type: ignore[override]
        """Return what the frames take from one another, (L, F, channels)."""
        taken: Tensor = self.processor(self, hidden_states)
        return taken
