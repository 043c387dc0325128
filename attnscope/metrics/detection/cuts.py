"""Find the cuts of a video: where a shot ends, how sure that is, and whether it ends at once or dissolves."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, get_args

from attnscope._types import Floats32, Frames
from attnscope.checks import require_whole
from attnscope.errors import InputError, quote
from attnscope.metrics.detection import watching
from attnscope.metrics.detection.blending import Thumbnails
from attnscope.metrics.detection.curves import THRESHOLD, transitions
from attnscope.metrics.detection.lasting import keep_lasting
from attnscope.metrics.detection.span import SPAN_THRESHOLD, STRIDE, SpanDetector
from attnscope.metrics.detection.transition import Transition
from attnscope.video.streams import ArrayVideo, Video

if TYPE_CHECKING:
    import av

DetectorName = Literal["transnetv2", "content", "adaptive", "vote", "span"]

SHORTEST_SHOT_S = 0.2
_VOTES = 2
_AGREE_FRAMES = 2


@dataclass(frozen=True)
class Detection:
    """What a detector found in a video, and how sure it was at every frame.

    ``ends`` (T,) is the probability that a shot ends with a frame (a cut at frame c shows at ``ends[c - 1]``),
    ``inside`` (T,) that the frame is part of a transition, ``thumbnails`` (T, 9, 16, 3) what each frame looked like;
    the curves are None for detectors that give no probability.
    """

    detector: DetectorName
    transitions: tuple[Transition, ...]
    num_frames: int
    fps: Fraction
    threshold: float | None
    arithmetic: str | None
    ends: Floats32 | None = field(repr=False)
    inside: Floats32 | None = field(repr=False)
    thumbnails: Thumbnails = field(repr=False)

    @property
    def cuts_frame(self) -> tuple[int, ...]:
        """The first frame of every shot but the first."""
        return tuple(each.cut_frame for each in self.transitions)


def detect_cuts(
    frames: Frames,
    fps: Fraction | int | float,
    *,
    detector: DetectorName = "transnetv2",
    threshold: float | None = None,
    shortest_shot_s: float = SHORTEST_SHOT_S,
    arithmetic: Literal["auto", "float32", "bfloat16"] = "auto",
    stride: int = STRIDE,
) -> Detection:
    """Find the cuts of a video in memory.

    ``frames`` is uint8 (frames, height, width, 3). ``"transnetv2"`` is a trained network, the only one that gives
    probabilities and sees dissolves; ``"content"`` and ``"adaptive"`` are PySceneDetect's comparisons of neighbouring
    frames; ``"vote"`` accepts what two of these three report within 2 frames, and dissolves from the network alone.
    A shot shorter than ``shortest_shot_s`` is not believed: of two cuts closer than that the more probable stays, and
    where the same picture is seen before and behind them (a flash) none. Black and white are no shots either, whatever
    the detector: a fade in or out at an end is no cut, a fade through black is one. ``transitions`` of a vote say how
    many detectors saw each: dissolves and fades are seen by the network alone, so no vote on them can be had.

    On drawn films (`attnscope.dataset`, 64 x 64, hard cuts) ``"adaptive"`` found every cut and no other, the network
    nearly every one; with dissolves only the network is right (experiments/metrics_validation). What small models make
    of such films is blurred over a latent frame at each cut, and there they see few of the cuts: ``"span"`` compares
    pictures a latent frame of ``stride`` frames apart and is the one for such films (experiments/cut_detectors), and
    for no others; ``stride`` is 1 for a model whose VAE sees frame by frame.

    ``threshold`` is the probability (network, vote; 0.3 by default) or the novelty (span; 0.135) from which there is a
    cut; the classical detectors have their own.

    ``arithmetic="auto"`` is bfloat16 where the processor has it built in (twice as fast), else float32; the result says
    which it was.

    Raises
    ------
    VideoError
        The array is no video.
    InputError
        No such detector, or a threshold that is no probability.
    SetupError
        The package that holds the weights, or PySceneDetect, is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> frames = np.repeat(np.array([30, 220], np.uint8), 20)[:, None, None, None] * np.ones((1, 32, 32, 3), np.uint8)
    >>> detect_cuts(frames, fps=16, detector="content").cuts_frame
    (20,)
    """
    chosen = CutDetector(
        detector,
        threshold=threshold,
        shortest_shot_s=shortest_shot_s,
        arithmetic=arithmetic,
        stride=stride,
    )
    return chosen.run(ArrayVideo(frames, fps))


class CutDetector:
    """A detector with its settings, to be run over videos; see :func:`detect_cuts`.

    >>> CutDetector("nose")
    Traceback (most recent call last):
        ...
    attnscope.errors.InputError: expected a detector out of transnetv2, content, adaptive, vote, span, got 'nose' \
as detector; use one of them
    """

    def __init__(
        self,
        detector: DetectorName = "transnetv2",
        *,
        threshold: float | None = None,
        shortest_shot_s: float = SHORTEST_SHOT_S,
        arithmetic: Literal["auto", "float32", "bfloat16"] = "auto",
        stride: int = STRIDE,
    ) -> None:
        if detector not in get_args(DetectorName):
            raise InputError(
                expected=f"a detector out of {', '.join(get_args(DetectorName))}",
                got=quote(detector),
                where="as detector",
                remedy="use one of them",
            )
        usual = SPAN_THRESHOLD if detector == "span" else THRESHOLD
        threshold = usual if threshold is None else threshold
        if not 0 < threshold < 1 or not 0 <= shortest_shot_s < 60:
            raise InputError(
                expected="a threshold between 0 and 1 and a shortest shot from 0 to 60 s",
                got=f"{threshold} and {shortest_shot_s}",
                where="in detect_cuts",
                remedy=f"{usual} and {SHORTEST_SHOT_S} are usual",
            )
        self._stride = require_whole(stride, "a stride of at least 1", "in detect_cuts", least=1)
        self.detector: DetectorName = detector
        self.threshold = threshold
        self._shortest_shot_s = shortest_shot_s
        self._arithmetic = arithmetic
        self._parts: dict[str, watching.FrameDetector] = {}

    def begin(self, *, excerpt: bool = False) -> None:
        """Make ready for one video, or for an ``excerpt`` of one, which brings the frames around it with it."""
        network = self.detector in ("transnetv2", "vote")
        names = ("content", "adaptive") if self.detector == "vote" else (self.detector,)
        self._used = (
            watching.native_arithmetic() if network and self._arithmetic == "auto" else self._arithmetic
        )
        self._parts = {
            name: SpanDetector(self.threshold, self._stride)
            if name == "span"
            else watching.ClassicalDetector(name)
            for name in names
            if name != "transnetv2"
        }
        if network:
            self._parts["transnetv2"] = watching.NetworkDetector(
                "bfloat16" if self._used == "bfloat16" else "float32", excerpt=excerpt
            )
        else:
            self._parts["thumbnails"] = watching.ThumbnailKeeper()

    def process(self, picture: av.VideoFrame) -> None:
        """Take the next picture of the video."""
        for part in self._parts.values():
            part.process(picture)

    @property
    def num_reported(self) -> int:
        """How many cuts the classical detectors have reported so far, flashes and short shots among them."""
        return sum(
            part.num_found for part in self._parts.values() if isinstance(part, watching.ClassicalDetector)
        )

    def finish(self, num_frames: int, fps: Fraction) -> Detection:
        """Say what was found in the video."""
        found = {name: part.finish() for name, part in self._parts.items()}
        kept = found.pop("thumbnails", None)
        ends, inside, thumbnails = found.pop("transnetv2", (None, None, kept))
        shortest = float(self._shortest_shot_s * fps)
        candidates = []
        if ends is not None:
            candidates = transitions(
                ends, inside, thumbnails, threshold=self.threshold, shortest_frames=shortest
            )
        if self.detector == "vote":
            chosen = _vote(candidates, *found.values())
        elif ends is None:
            chosen = [_hard_cut(frame) for frame in found[self.detector]]
        else:
            chosen = candidates
        lasting = keep_lasting(chosen, thumbnails, shortest)
        return Detection(
            detector=self.detector,
            transitions=_drop_short_shots(lasting, num_frames, shortest),
            num_frames=num_frames,
            fps=fps,
            threshold=self.threshold if ends is not None or self.detector == "span" else None,
            arithmetic=None if ends is None else self._used,
            ends=ends,
            inside=inside,
            thumbnails=thumbnails,
        )

    def run(self, video: Video) -> Detection:
        """Run a whole video past the detector."""
        self.begin()
        for picture in video:
            self.process(picture)
        return self.finish(video.num_frames, video.fps)


def _hard_cut(frame: int) -> Transition:
    return Transition(frame, frame, frame, "cut", None)


def _vote(network: Sequence[Transition], *others: Sequence[int]) -> list[Transition]:
    """What two of three report, at the network's place where it is one of them; dissolves as the network says.

    A dissolve is seen by no other detector, so a vote on it cannot be had: it says that it has one vote of its own.
    """
    counted = [
        dataclasses.replace(each, num_votes=1 + sum(_is_near(each.cut_frame, frames) for frames in others))
        for each in network
    ]
    chosen = [each for each in counted if each.kind == "dissolve" or (each.num_votes or 0) >= _VOTES]
    taken = [each.cut_frame for each in network]
    first, second = others
    agreed = [frame for frame in first if _is_near(frame, second) and not _is_near(frame, taken)]
    inside = [(each.start_frame, each.stop_frame) for each in chosen]
    agreed = [frame for frame in agreed if not any(start <= frame <= stop for start, stop in inside)]
    without_network = [dataclasses.replace(_hard_cut(frame), num_votes=_VOTES) for frame in agreed]
    return sorted([*chosen, *without_network], key=lambda each: each.cut_frame)


def _is_near(frame: int, frames: Sequence[int]) -> bool:
    return any(abs(frame - other) <= _AGREE_FRAMES for other in frames)


def _drop_short_shots(
    found: Sequence[Transition], num_frames: int, shortest: float
) -> tuple[Transition, ...]:
    """Drop the least probable cut of a shot that is too short, until none is."""
    kept = [each for each in found if 0 < each.cut_frame < num_frames]
    while True:
        edges = [0, *(each.cut_frame for each in kept), num_frames]
        short = next((i for i, (a, b) in enumerate(pairwise(edges)) if b - a < shortest), None)
        if short is None or not kept:
            return tuple(kept)
        beside = [i for i in (short - 1, short) if 0 <= i < len(kept)]
        # without probabilities the later one goes, as an editor would see the first
        kept.pop(min(reversed(beside), key=lambda i: kept[i].probability or 0.0))
