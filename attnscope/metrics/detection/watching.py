"""Look for cuts in a video while it runs past, in memory that does not grow with its length.

Legend: T frames; pictures are `av.VideoFrame`.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from typing_extensions import override

from attnscope._types import Floats32, Frames
from attnscope.errors import SetupError
from attnscope.metrics.encoders.weights import TRANSNET
from attnscope.video.scaling import Scaler, fit_size

if TYPE_CHECKING:
    import av

    from attnscope.metrics.detection.transnet import Arithmetic, TransNet


CONTEXT_FRAMES = 25
"""How many frames on each side the network needs to see before its answer counts; as its authors have it."""

PIECE_FRAMES = 44
"""How many frames go through the network at once: few enough to stay near the processor."""

_CLASSICAL_PIXELS = 256  # longer side of what the classical detectors look at, as PySceneDetect itself scales
BRIGHTNESS_THRESHOLD = 15.0
"""Change of brightness, in levels, that is a cut for ``content`` where there is no colour: what the adaptive detector
asks for at least. Its usual 27 is a mean over hue, saturation and brightness."""
_ANY_FPS = 25.0
_COLOURLESS = 6.0  # levels by which one colour may differ from another over a picture without colour
_THUMBNAIL = (9, 16, 3)


class FrameDetector(Protocol):
    """Sees every picture once, in order, and says at the end what it found.

    The network gives its curves, (T,) that a shot ends with a frame and (T,) that a frame is inside a transition, and
    thumbnails; every other detector the first frames of new shots. They see nothing but the pictures: what of it is a
    cut is decided when all is there.
    """

    @abstractmethod
    def process(self, picture: av.VideoFrame) -> None:
        """Take the next picture."""

    @abstractmethod
    def finish(self) -> Any:
        """Say what was found, once there are no more pictures."""


class NetworkDetector(FrameDetector):
    """Runs a video through TransNetV2 piece by piece; keeps two probabilities and a thumbnail a frame.

    Before the first picture and behind the last it is shown them again, as its authors do; of an ``excerpt``, which has
    its context with it, it is shown nothing but that.
    """

    def __init__(self, arithmetic: Arithmetic, *, excerpt: bool = False) -> None:
        from attnscope.metrics.detection.transnet import HEIGHT, WIDTH, Run

        self._run = Run(_network(arithmetic))
        self._size = (HEIGHT, WIDTH)
        self._repeated = 0 if excerpt else CONTEXT_FRAMES
        self._scaler = Scaler()
        self._frames: list[Frames] = []
        # each one block that grows: many small ones would hold the memory between them
        self._curves = (bytearray(), bytearray())
        self._thumbnails = bytearray()

    @override
    def process(self, picture: av.VideoFrame) -> None:
        small = self._scaler.colour(picture, *self._size)
        self._thumbnails += _thumbnail(small).data
        if not self._frames:
            self._frames = [small] * self._repeated
        self._frames.append(small)
        if len(self._frames) > PIECE_FRAMES:  # one frame stays: the last is repeated behind the end
            self._advance(self._frames[:PIECE_FRAMES])
            self._frames = self._frames[PIECE_FRAMES:]

    @override
    def finish(self) -> tuple[Floats32, Floats32, Frames]:
        """Give the probabilities (T,) that a shot ends with a frame, that it is in a transition, and thumbnails."""
        if not self._frames:
            nothing: Floats32 = np.zeros(0, np.float32)
            return nothing, nothing, np.zeros((0, *_THUMBNAIL), np.uint8)
        self._frames += [self._frames[-1]] * self._repeated
        self._advance(self._frames[:PIECE_FRAMES], last=len(self._frames) <= PIECE_FRAMES)
        if len(self._frames) > PIECE_FRAMES:
            self._advance(self._frames[PIECE_FRAMES:], last=True)
        thumbnails = np.frombuffer(self._thumbnails, np.uint8).reshape(-1, *_THUMBNAIL)
        own = slice(self._repeated, self._repeated + len(thumbnails))
        ends, inside = (np.frombuffer(each, np.float32)[own] for each in self._curves)
        return ends, inside, thumbnails

    def _advance(self, frames: list[Frames], *, last: bool = False) -> None:
        for curve, more in zip(self._curves, self._run(np.stack(frames), last=last), strict=True):
            curve.extend(more.tobytes())


class ClassicalDetector(FrameDetector):
    """Runs one detector of PySceneDetect; it compares neighbouring frames and knows nothing of dissolves.

    It adds up the changes of hue, saturation and brightness. Where there is no colour two of them are always 0, and a
    second one that looks at brightness alone is asked, too.
    """

    def __init__(self, name: str) -> None:
        try:
            import scenedetect
            import scenedetect.detectors as known
        except ImportError as error:
            raise SetupError(
                expected=f"scenedetect-headless for the detector {name}",
                got="no such package",
                where="in this environment",
                remedy='install attnscope with pip install "attnscope[metrics]"',
            ) from error
        # one frame: the shortest shot is a rule of ours, in seconds and the same for every detector
        detector = known.ContentDetector if name == "content" else known.AdaptiveDetector
        self._make: Any = functools.partial(detector, min_scene_len=1)
        self._least = {"threshold": BRIGHTNESS_THRESHOLD} if name == "content" else {}
        # it only counts frames with it: the rate is known in the end
        self._stamp = functools.partial(scenedetect.FrameTimecode, fps=_ANY_FPS)
        self._detector: Any = self._make()
        self._by_brightness: Any = None
        self._scaler = Scaler()
        self._found: list[Any] = []
        self._num = 0

    @property
    def num_found(self) -> int:
        """How many cuts were reported so far."""
        return len(self._found)

    @override
    def process(self, picture: av.VideoFrame) -> None:
        small = self._scaler.colour(picture, *fit_size(picture, _CLASSICAL_PIXELS))
        # it expects blue, green, red
        frame = self._stamp(self._num), np.ascontiguousarray(small[..., ::-1])
        self._found += self._detector.process_frame(*frame)
        if _is_colourless(small):
            self._by_brightness = self._by_brightness or self._make(luma_only=True, **self._least)
            self._found += self._by_brightness.process_frame(*frame)
        elif self._by_brightness is not None:
            self._found += self._by_brightness.post_process(self._stamp(self._num))
            self._by_brightness = None
        self._num += 1

    @override
    def finish(self) -> tuple[int, ...]:
        for detector in (self._detector, self._by_brightness):
            if detector is not None:
                self._found += detector.post_process(self._stamp(self._num))
        return tuple(sorted({int(each.frame_num) for each in self._found}))


class ThumbnailKeeper(FrameDetector):
    """Keeps a thumbnail of every frame, where no network does."""

    def __init__(self) -> None:
        self._scaler = Scaler()
        self._thumbnails = bytearray()

    @override
    def process(self, picture: av.VideoFrame) -> None:
        height, width, _ = _THUMBNAIL
        self._thumbnails += _thumbnail(self._scaler.colour(picture, 3 * height, 3 * width)).data

    @override
    def finish(self) -> Frames:
        return np.frombuffer(self._thumbnails, np.uint8).reshape(-1, *_THUMBNAIL)


def _is_colourless(small: Frames) -> bool:
    """Say whether a picture is black and white, or all of one tint."""
    red, green, blue = small[::4, ::4].astype(np.int16).transpose(2, 0, 1)
    return bool(max((red - green).std(), (green - blue).std()) < _COLOURLESS)


def _thumbnail(small: Frames) -> Frames:
    """A third of the height and width, so little that it can be kept of every frame: 432 bytes."""
    # rows first, in three long additions
    rows = small[::3] + small[1::3].astype(np.uint16) + small[2::3]
    return np.asarray((rows[:, ::3] + rows[:, 1::3] + rows[:, 2::3]) // 9, np.uint8)


def native_arithmetic() -> Arithmetic:
    """Say in which numbers the network is fastest here without loss that matters: bfloat16 where it is built in."""
    import torch

    # without the instruction bfloat16 is emulated and slower than float32
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return "bfloat16" if native else "float32"


@functools.lru_cache(maxsize=2)
def _network(arithmetic: Arithmetic) -> TransNet:
    from attnscope.metrics.detection.transnet import TransNet

    return TransNet(TRANSNET.read(), arithmetic=arithmetic)
