"""The plain ways that the contract compares with: dense masks, softmax over all tokens. No code shared with taps."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from attnscope.families.layout import PADDING_TOKEN
from attnscope.hooks import Attachment, HookPoint


def ends(ending: str) -> Callable[[str], bool]:
    """Choose hook points by how their names end."""
    return lambda name: name.endswith(ending)


def self_attention(member: str) -> Callable[[str], bool]:
    """Choose one member of every self-attention."""
    return ends(f".attn.hook_{member}")


def is_self(name: str) -> bool:
    """Say whether a hook point belongs to self-attention."""
    return ".attn.hook_" in name


def difference(one: Tensor, other: Tensor) -> float:
    """Return the largest distance between two tensors."""
    return float((one.detach() - other.detach()).abs().max())


def segments(attachment: Attachment, kind: str) -> list[int]:
    """Return which segments of the layout are of this kind."""
    return [index for index, segment in enumerate(attachment.layout.segments) if segment.kind == kind]


def rows_that_look(attachment: Attachment, point: HookPoint) -> list[int]:
    """Query groups without padding: what padding looks at is nobody's business."""
    return [index for index, segment in enumerate(attachment.layout.segments) if segment.kind != "padding"]


def tokens_that_look(attachment: Attachment, point: HookPoint) -> Tensor:
    """Say for each token whether it is one, or padding: bool (tokens)."""
    return torch.from_numpy(attachment.layout.token_frame() != PADDING_TOKEN)


def two_shots(attachment: Attachment) -> Tensor:
    """Two shots that do not see each other, over the frames of the layout; text sees and is seen: 0 and -inf."""
    segments = attachment.layout.segments
    half = attachment.layout.num_frames // 2
    shot = torch.tensor([-1 if part.kind != "frame" else int(part.index >= half) for part in segments])
    hidden = (shot[:, None] != shot[None, :]) & (shot[:, None] >= 0) & (shot[None, :] >= 0)
    return torch.zeros(len(segments), len(segments)).masked_fill(hidden, -torch.inf)


def hide_halves(attachment: Attachment) -> Callable[[Tensor, HookPoint], Tensor]:
    """Return a hook that holds the two halves of the video apart."""
    return lambda relation, point: two_shots(attachment)


def dense_mask(attachment: Attachment) -> Callable[[Tensor, HookPoint], Tensor]:
    """Masking in the token x token scores: the plain way, which shares no code with the sliced one."""

    def mask(scores: Tensor, point: HookPoint) -> Tensor:
        sizes = torch.tensor(attachment.layout.offsets).diff()
        return scores + two_shots(attachment).repeat_interleave(sizes, 0).repeat_interleave(sizes, 1)

    return mask


def by_brute_force(
    seen: dict[str, Tensor],
    attachment: Attachment,
    point: HookPoint,
    hides: Callable[[int, int], bool],
    own_bias: Tensor | None = None,
) -> dict[str, Tensor]:
    """Softmax over all tokens in float64, then sums over key groups, means over frames and over places.

    Hidden are the keys that the layout calls padding and the frames that the model `hides`, in attention to text the
    keys that nobody looks at; that these are the right ones is seen from the output, which must be what the model
    computed. `own_bias` is what the model adds to the scores by itself.
    """
    layout, query, key, value = attachment.layout, seen["q"].double(), seen["k"].double(), seen["v"].double()
    scores = torch.einsum("bnhd,bmhd->bhnm", query, key) / query.shape[-1] ** 0.5
    scores = scores if own_bias is None else scores + own_bias.double()
    rows = torch.tensor(layout.offsets)
    if is_self(point.name):
        frame_of = layout.token_frame().tolist()
        future = torch.tensor([[min(q, k) >= 0 and hides(q, k) for k in frame_of] for q in frame_of])
        padding = torch.from_numpy(layout.token_frame() == PADDING_TOKEN)
        columns, hidden = rows, (padding | future).expand(scores.shape)
    else:
        columns = torch.arange(key.shape[1] + 1)
        hidden = (seen["token_frame"] == 0).all(-2, keepdim=True).expand(scores.shape)
    scores = scores.masked_fill(hidden, -torch.inf)
    pattern = scores.softmax(-1)
    token = torch.stack([pattern[..., start:stop].sum(-1) for start, stop in itertools.pairwise(columns)], -1)
    frame = torch.stack([token[..., start:stop, :].mean(-2) for start, stop in itertools.pairwise(rows)], -2)
    looking = rows_that_look(attachment, point)
    blind = [index for index in range(frame.shape[-2]) if index not in looking]
    frame[..., blind, :] = seen["frame_mass"][..., blind, :].double()
    return {
        "frame_mass": frame.reshape(len(seen["frame_mass"]), -1, *frame.shape[1:]).mean(1),
        "token_frame": token,
        "lse": scores.logsumexp(-1),
        "z": torch.einsum("bhnm,bmhd->bnhd", pattern, value),
    }
