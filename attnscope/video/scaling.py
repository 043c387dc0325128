"""Bring pictures to another size: in colour, in brightness alone, or so that a frame is filled.

Legend: H height, W width; a picture is an `av.VideoFrame`, what comes out is uint8, (H, W, 3) RGB or (H, W).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from attnscope._types import Frames

if TYPE_CHECKING:
    import av


class Scaler:
    """Scales the pictures of one video, one like the other: what swscale prepares for a size is prepared once.

    One thread: more of them cost what they gain on pictures of this size, and files are scored side by side.
    """

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()

    def colour(self, picture: av.VideoFrame, height: int, width: int) -> Frames:
        """Squeeze one picture to height x width: (H, W, 3)."""
        return np.asarray(
            self._reformatter.reformat(picture, width, height, "rgb24", threads=1).to_ndarray(), np.uint8
        )

    def grey(self, picture: av.VideoFrame, most: int) -> Frames:
        """Give the brightness of one picture, (H, W), its longer side at most ``most``."""
        from av.video.reformatter import Colorspace, Interpolation

        height, width = fit_size(picture, most)
        # of one standard on both sides, what is coded as brightness stays as it is; else swscale mixes colour into it
        same = int(Colorspace.ITU601)
        grey = self._reformatter.reformat(
            picture, width, height, "gray", same, same, interpolation=int(Interpolation.AREA), threads=1
        )
        return np.asarray(grey.to_ndarray(), np.uint8)


def to_rgb(picture: av.VideoFrame) -> Frames:
    """Give one picture in its own size: (H, W, 3)."""
    return np.asarray(picture.to_ndarray(format="rgb24"), np.uint8)


def fit_size(picture: av.VideoFrame, most: int) -> tuple[int, int]:
    """Height and width of a picture whose longer side is at most ``most``."""
    share = min(1.0, most / max(picture.height, picture.width))
    return max(2, round(picture.height * share)), max(2, round(picture.width * share))


def squeeze(picture: av.VideoFrame, height: int, width: int) -> Frames:
    """Squeeze one picture to height x width: (H, W, 3)."""
    return Scaler().colour(picture, height, width)


def fill(scaler: Scaler, picture: av.VideoFrame, height: int, width: int) -> Frames:
    """Scale one picture so that height x width is filled, and cut it to that in the middle: (H, W, 3)."""
    scale = max(height / picture.height, width / picture.width)
    rows, columns = max(height, round(picture.height * scale)), max(width, round(picture.width * scale))
    top, left = (rows - height) // 2, (columns - width) // 2
    return scaler.colour(picture, rows, columns)[top : top + height, left : left + width]
