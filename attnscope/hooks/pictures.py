"""Attention that each picture of a video does by itself, seen as one attention of all its frames to the same text.

Legend: B videos, F frames, N tokens of a picture, M tokens of text, H heads, D head size.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from attnscope.errors import LayoutError, UnsupportedModelError
from attnscope.hooks.seam import AttentionCall


def join_pictures(call: AttentionCall, num_frames: int, where: str) -> AttentionCall:
    """Return the call of whole videos: query (B, F * N, H, D), key and value (B, M, H, D), read once and not F times.

    The softmax of a picture knows nothing of the other pictures, so where they all read the same text this is the same
    attention. As long as nobody changes anything, the model computes it picture by picture as before.

    Raises
    ------
    LayoutError
        The batch holds no whole videos.
    UnsupportedModelError
        The pictures of a video read different texts.
    """
    if call.query.shape[0] % num_frames:
        raise LayoutError(
            expected=f"whole videos of {num_frames} pictures",
            got=f"a batch of {call.query.shape[0]}",
            where=f"at {where}",
            remedy="let the model read the text for all pictures at once",
        )
    query = _join(call.query, num_frames)
    key, value = (_read_once(each, num_frames, where) for each in (call.key, call.value))

    def run(now_query: Tensor, now_key: Tensor, now_value: Tensor) -> Tensor:
        # The very tensors that were given, where nothing was replaced: strides choose the kernel that runs.
        if now_query is query and now_key is key and now_value is value:
            return _join(call.run(call.query, call.key, call.value), num_frames)
        spread = (each.repeat_interleave(num_frames, 0) for each in (now_key, now_value))
        return _join(call.run(part_pictures(now_query, num_frames), *spread), num_frames)

    # A mask of the model's own stays in force, but cannot be looked into.
    constrained = call.constrained if call.mask is None else "a mask for each picture"
    return replace(
        call, query=query, key=key, value=value, mask=None, constrained=constrained, run=run, alone=run
    )


def part_pictures(of_videos: Tensor, num_frames: int) -> Tensor:
    """Return (B, F * N, H, D) as (B * F, N, H, D)."""
    num_videos, num_tokens = of_videos.shape[:2]
    return of_videos.reshape(num_videos * num_frames, num_tokens // num_frames, *of_videos.shape[2:])


def _join(of_pictures: Tensor, num_frames: int) -> Tensor:
    num_pictures, num_tokens = of_pictures.shape[:2]
    return of_pictures.reshape(num_pictures // num_frames, num_frames * num_tokens, *of_pictures.shape[2:])


def _read_once(of_pictures: Tensor, num_frames: int, where: str) -> Tensor:
    """Return what the first picture of each video reads (B, M, H, D); the others must read the same."""
    by_video = of_pictures.reshape(-1, num_frames, *of_pictures.shape[1:])
    first: Tensor = by_video[:, 0]
    if not first[:, None].expand_as(by_video).equal(by_video):
        raise UnsupportedModelError(
            expected="pictures of a video that read the same text",
            got="different ones",
            where=f"at {where}",
            remedy="give one prompt for the whole video, or captions of shots",
        )
    return first
