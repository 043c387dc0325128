"""Cuts of films whose pictures change over a whole latent frame: what small models make of a cut.

A causal VAE spreads a cut over the frames of one latent frame, and no two neighbours among them differ much. Over that
span the cut is whole again; so pictures a span apart are compared, not neighbours.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from attnscope.metrics.detection.watching import FrameDetector
from attnscope.video.scaling import squeeze

if TYPE_CHECKING:
    import av

STRIDE = 4
"""Frames of a latent frame where nobody says: those of Wan, HunyuanVideo, CogVideoX."""

SPAN_THRESHOLD = 0.135
"""Least novelty of a cut, the root mean square over pixels with black to white being 2; set on drawn films, half of
them decoded by the embedded autoencoder, and checked on films of the embedded models, see experiments/cut_detectors.
Drawn films of the world `textured` move faster and need 0.235."""

_PIXELS = 64  # longer side of what is compared: larger pictures are blurred to what the threshold was set on


class SpanDetector(FrameDetector):
    """Compares pictures a latent frame of ``stride`` frames apart; keeps two numbers a frame.

    The change over these frames, less half of the larger change before and behind it (a fast camera changes all along),
    must reach the threshold and be the largest within as many frames. The cut is the first of these frames that has at
    least half of the largest frame-to-frame change among them.
    """

    def __init__(self, threshold: float = SPAN_THRESHOLD, stride: int = STRIDE) -> None:
        self._threshold, self._stride = threshold, stride
        self._last: deque[NDArray[np.float32]] = deque(maxlen=stride)
        self._change: list[float] = []
        self._over_span: list[float] = []

    @override
    def process(self, picture: av.VideoFrame) -> None:
        share = min(1.0, _PIXELS / max(picture.height, picture.width))
        height, width = (max(1, round(side * share)) for side in (picture.height, picture.width))
        now = squeeze(picture, height, width).astype(np.float32) / 127.5 - 1
        if self._last:
            self._change.append(_distance(now, self._last[-1]))
        if len(self._last) == self._stride:
            self._over_span.append(_distance(now, self._last[0]))
        self._last.append(now)

    @override
    def finish(self) -> tuple[int, ...]:
        over_span, change, stride = np.array(self._over_span), np.array(self._change), self._stride
        beside = np.pad(over_span, stride)
        novelty = over_span - 0.5 * np.maximum(beside[: len(over_span)], beside[2 * stride :])
        found: set[int] = set()
        for place, value in enumerate(novelty):
            near = novelty[max(0, place - stride + 1) : place + stride]
            if value >= self._threshold and value == near.max():
                inside = change[place : place + stride]
                found.add(1 + place + int(np.argmax(inside >= inside.max() / 2)))
        return tuple(sorted(found))


def _distance(picture: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean((picture - other) ** 2)))
