"""What a cut does to the picture around it: flicker and blur, in numbers. No aesthetics: these are technical.

Legend: T frames; pictures are `av.VideoFrame`.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from attnscope._types import Floats
from attnscope.video.scaling import Scaler

if TYPE_CHECKING:
    import av


_SHARPNESS_PIXELS = 512  # longer side; what is blurred by a latent frame is blurred at this size too
_NEAR_FRAMES = 4  # one latent frame of the usual stride


class PerFrame(NamedTuple):
    """One number a frame. ``flicker`` (T,): grey levels, NaN for the first and last; ``sharpness`` (T,)."""

    flicker: Floats
    sharpness: Floats


class FrameQuality:
    """Follows flicker and sharpness while a video runs past; holds three small pictures.

    Flicker of frame t is the mean of ``|x[t-1] - 2 x[t] + x[t+1]| / 2`` in grey levels: steady motion and fades cancel,
    what jumps there and back remains. Sharpness is the variance of the Laplacian.
    """

    def __init__(self) -> None:
        self._scaler = Scaler()
        self._last: list[npt.NDArray[np.int16]] = []
        self._flicker, self._sharpness = array("d"), array("d")

    def process(self, picture: av.VideoFrame) -> None:
        """Take the next picture."""
        small = self._scaler.grey(picture, _SHARPNESS_PIXELS).astype(np.int16)
        self._sharpness.append(_laplacian_variance(small))
        self._last = [*self._last[-2:], small[::2, ::2].copy()]
        if len(self._last) == 3:
            before, here, after = self._last
            jumps = before + after
            jumps -= 2 * here
            self._flicker.append(int(np.abs(jumps, out=jumps).sum(dtype=np.int32)) / jumps.size / 2)

    def finish(self) -> PerFrame:
        """Give the curves of the whole video."""
        gap = array("d", [math.nan] if self._sharpness else [])
        flicker = (gap + self._flicker + gap)[: len(self._sharpness)]
        return PerFrame(np.array(flicker, float), np.array(self._sharpness, float))


def flicker_around_cuts(per_frame: PerFrame, cuts: Sequence[int]) -> dict[str, float]:
    """Say how much the picture flickers, and how much more in the first frames after a cut.

    ``flicker`` is the mean within shots, in grey levels of 255; ``flicker_after_cut`` the mean over the first 4
    frames of every shot but the first; ``flicker_ratio`` the second divided by what is left of the first (1: a cut
    makes no difference). Frames beside a cut are left out, as their neighbour belongs to another shot. NaN where
    there is nothing.

    >>> trace = PerFrame(np.array([np.nan, 1, 1, 9, 9, 3, 3, 1, 1, np.nan]), np.ones(10))
    >>> flicker_around_cuts(trace, [4])["flicker_ratio"]
    2.333...
    """
    num_frames = len(per_frame.flicker)
    near = np.zeros(num_frames, bool)
    usable = ~np.isnan(per_frame.flicker)
    for cut in cuts:
        usable[cut - 1 : cut + 1] = False
        near[cut : cut + _NEAR_FRAMES] = True
    after, rest = _mean(per_frame.flicker[usable & near]), _mean(per_frame.flicker[usable & ~near])
    return {
        "flicker": _mean(per_frame.flicker[usable]),
        "flicker_after_cut": after,
        "flicker_ratio": after / rest if rest > 0 else math.nan,
    }


def sharpness_around_cuts(per_frame: PerFrame, cuts: Sequence[int]) -> dict[str, float]:
    """Say how sharp the picture is, and how sharp the first frames after a cut are beside the rest of their shot.

    ``sharpness`` is the mean variance of the Laplacian; ``sharpness_after_cut_0`` to ``_3`` the median over cuts of the
    sharpness of the first to fourth frame of the new shot, divided by the median of the shot from its fifth frame on.
    1: as sharp as the rest; below 1: the cut leaves a blur. NaN where no shot after a cut is longer than 4 frames.

    >>> trace = PerFrame(np.ones(20), np.array([10.0] * 10 + [5, 6, 7, 8] + [10] * 6))
    >>> sharpness_around_cuts(trace, [10])["sharpness_after_cut_0"]
    0.5
    """
    num_frames = len(per_frame.sharpness)
    ratios: list[list[float]] = [[] for _ in range(_NEAR_FRAMES)]
    for start, stop in pairwise([*cuts, num_frames]):
        rest = per_frame.sharpness[start + _NEAR_FRAMES : stop]
        if len(rest) and np.median(rest) > 0:
            for k in range(_NEAR_FRAMES):
                ratios[k].append(float(per_frame.sharpness[start + k] / np.median(rest)))
    after = {
        f"sharpness_after_cut_{k}": float(np.median(each)) if each else math.nan
        for k, each in enumerate(ratios)
    }
    return {"sharpness": _mean(per_frame.sharpness), **after}


def _laplacian_variance(x: npt.NDArray[np.int16]) -> float:
    if min(x.shape) < 3:
        return 0.0
    # on the rows laid end to end every addition is one run through memory; the ends of rows, where these neighbours are
    # those of another row, are left out
    height, width = x.shape
    row = x.ravel()
    laplacian = row[: -2 * width] + row[2 * width :]
    laplacian += row[width - 1 : -width - 1]
    laplacian += row[width + 1 : len(row) - width + 1]
    laplacian -= row[width:-width] << 2
    values = laplacian.reshape(height - 2, width)[:, 1:-1].astype(np.float32).ravel()
    return float(values @ values / len(values)) - (float(values.sum()) / len(values)) ** 2


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else math.nan
