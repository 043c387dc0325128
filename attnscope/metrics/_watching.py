"""Watch a video for cuts while it runs past, in memory that does not grow with its length.

Legend: T frames; pictures are `av.VideoFrame`.
"""

from __future__ import annotations

import functools
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from attnscope.archives import read_archive
from attnscope.errors import SetupError
from attnscope.metrics._weights import TRANSNET
from attnscope.metrics.reels import scaled

if TYPE_CHECKING:
    import av

    from attnscope.metrics._transnet import Arithmetic, TransNet

Floats = npt.NDArray[np.float32]

CONTEXT_FRAMES = 25
"""How many frames on each side the network needs to see before its answer counts; as its authors have it."""

WINDOW_FRAMES = 300
"""Most frames that go through the network at once. The authors use 100, so half of the work is done twice."""

_CLASSICAL_PIXELS = 256  # longer side of what the classical detectors look at, as PySceneDetect itself scales
CONTENT_THRESHOLD = 27.0


class Watcher(Protocol):
    """Sees every picture once, in order, and says at the end what it found."""

    def see(self, picture: av.VideoFrame) -> None:
        """Take the next picture."""

    def finish(self) -> Any:
        """Say what was found, once there are no more pictures."""


class NetworkWatcher:
    """Runs TransNetV2 over windows that overlap by its context; keeps two probabilities a frame."""

    def __init__(self, arithmetic: Arithmetic) -> None:
        from attnscope.metrics._transnet import HEIGHT, WIDTH

        self._net = _network(arithmetic)
        self._size = (HEIGHT, WIDTH)
        self._frames: list[npt.NDArray[np.uint8]] = []
        self._found: list[tuple[Floats, Floats]] = []

    def see(self, picture: av.VideoFrame) -> None:
        """Take the next picture; runs the network when a window is full."""
        small = scaled(picture, *self._size)
        if not self._frames and not self._found:
            self._frames = [small] * CONTEXT_FRAMES
        self._frames.append(small)
        if len(self._frames) == WINDOW_FRAMES:
            self._run()
            self._frames = self._frames[-2 * CONTEXT_FRAMES :]

    def finish(self) -> tuple[Floats, Floats]:
        """Probabilities (T,) that a shot ends with a frame, and (T,) that a frame is part of a transition."""
        if not self._frames:
            nothing: Floats = np.zeros(0, np.float32)
            return nothing, nothing
        self._frames += [self._frames[-1]] * CONTEXT_FRAMES
        if len(self._frames) > 2 * CONTEXT_FRAMES:
            self._run()
        ends, inside = zip(*self._found, strict=True)
        return np.concatenate(ends), np.concatenate(inside)

    def _run(self) -> None:
        inner = slice(CONTEXT_FRAMES, len(self._frames) - CONTEXT_FRAMES)
        ends, inside = self._net(np.stack(self._frames))
        self._found.append((ends[inner], inside[inner]))


class ClassicalWatcher:
    """Runs one detector of PySceneDetect; it compares neighbouring frames and knows nothing of dissolves."""

    def __init__(self, name: str, fps: Fraction) -> None:
        try:
            import scenedetect
            import scenedetect.detectors as known
        except ImportError as error:
            raise SetupError(
                f"expected scenedetect-headless for the detector {name}, got no such package in this environment; "
                'install attnscope with pip install "attnscope[metrics]"'
            ) from error
        # one frame: the shortest shot is a rule of ours, in seconds and the same for every detector
        self._detector: Any = (
            known.ContentDetector(CONTENT_THRESHOLD, min_scene_len=1)
            if name == "content"
            else known.AdaptiveDetector(min_scene_len=1)
        )
        self._stamp = functools.partial(scenedetect.FrameTimecode, fps=float(fps))
        self._found: list[Any] = []
        self._num = 0

    def see(self, picture: av.VideoFrame) -> None:
        """Take the next picture."""
        share = min(1.0, _CLASSICAL_PIXELS / max(picture.height, picture.width))
        small = scaled(picture, max(2, round(picture.height * share)), max(2, round(picture.width * share)))
        # it expects blue, green, red
        self._found += self._detector.process_frame(
            self._stamp(self._num), np.ascontiguousarray(small[..., ::-1])
        )
        self._num += 1

    def finish(self) -> tuple[int, ...]:
        """First frames of new shots."""
        self._found += self._detector.post_process(self._stamp(self._num))
        return tuple(sorted({int(each.frame_num) for each in self._found}))


def native_arithmetic() -> Arithmetic:
    """Say in which numbers the network is fastest here without loss that matters: bfloat16 where it is built in."""
    import torch

    # without the instruction bfloat16 is emulated and slower than float32
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return "bfloat16" if native else "float32"


@functools.lru_cache(maxsize=2)
def _network(arithmetic: Arithmetic) -> TransNet:
    from attnscope.metrics._transnet import TransNet

    return TransNet(read_archive(TRANSNET.locate()), arithmetic=arithmetic)
