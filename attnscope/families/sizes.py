"""Which sizes of a video a model can make; others are refused with the nearest that it can."""

from __future__ import annotations

from attnscope.errors import InputError


def require_num_frames(num_frames: int, stride: int, most: int | None, family: str) -> None:
    """Refuse numbers of frames that are no whole latent frames, or more than `most` latent frames.

    >>> require_num_frames(17, 4, None, "Wan")
    >>> require_num_frames(18, 4, None, "Wan")
    Traceback (most recent call last):
    ...
    attnscope.errors.InputError: expected 4n + 1 frames, from 5, got 18 as num_frames of a Wan video; use 17
    """
    few = stride + 1 if stride > 1 else 1
    last = None if most is None else stride * (most - 1) + 1
    if num_frames < few or (num_frames - 1) % stride or (last is not None and num_frames > last):
        near = max(round((num_frames - 1) / stride), 1 if stride > 1 else 0) * stride + 1
        raise InputError(
            expected=f"{stride}n + 1 frames, from {few}{_to(last)}",
            got=f"{num_frames}",
            where=f"as num_frames of a {family} video",
            remedy=f"use {near if last is None else min(near, last)}",
        )


def require_pixels(side: str, pixels: int, grid: int, most: int | None, family: str) -> None:
    """Refuse a height or width that is no whole number of patches of `grid` pixels, or more than `most` of them.

    >>> require_pixels("height", 480, 16, None, "Wan")
    """
    if pixels < grid or pixels % grid or (most is not None and pixels > grid * most):
        near = max(round(pixels / grid), 1)
        raise InputError(
            expected=f"a multiple of {grid} pixels, from {grid}{_to(None if most is None else grid * most)}",
            got=f"{pixels}",
            where=f"as {side} of a {family} video",
            remedy=f"use {(near if most is None else min(near, most)) * grid}",
        )


def _to(last: int | None) -> str:
    return "" if last is None else f" to {last}"
