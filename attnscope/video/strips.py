"""A film at a glance: pictures of it side by side."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from attnscope._types import Frames
from attnscope.checks import require_whole

if TYPE_CHECKING:
    from PIL.Image import Image


def film_strip(frames: Frames, *, cuts: Sequence[int] = (), num_pictures: int = 12) -> Image:
    """Return pictures of a film side by side, evenly over its length; a wide gap is a cut.

    Parameters
    ----------
    frames
        The film, uint8 (frames, height, width, 3).
    cuts
        The first video frame of each later shot.
    num_pictures
        How many pictures at most.

    Raises
    ------
    InputError
        No number of pictures from 1.

    Examples
    --------
    >>> film_strip(np.zeros((9, 32, 64, 3), np.uint8), cuts=[4], num_pictures=3).size
    (210, 32)
    """
    from PIL import Image

    require_whole(num_pictures, "a number of pictures from 1", "in a film strip", least=1)
    taken = np.unique(np.linspace(0, len(frames) - 1, min(num_pictures, len(frames))).round())
    height, width = frames.shape[1:3]
    parts: list[Frames] = []
    before = None
    for frame in taken.astype(int):
        if before is not None:
            is_cut = any(before < cut <= frame for cut in cuts)
            gap = max(width // (4 if is_cut else 32), 1)
            parts.append(np.full((height, gap, 3), 255, np.uint8))
        parts.append(frames[frame])
        before = frame
    return Image.fromarray(np.concatenate(parts, axis=1))


def png_of(picture: Image) -> bytes:
    """Write a picture as a PNG, the same bytes every time.

    >>> png_of(film_strip(np.zeros((1, 2, 2, 3), np.uint8)))[1:4]
    b'PNG'
    """
    target = io.BytesIO()
    picture.save(target, "PNG", optimize=True)
    return target.getvalue()
