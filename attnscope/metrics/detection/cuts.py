"""Find the cuts of a video: where a shot ends, how sure that is, and whether it ends at once or dissolves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from attnscope._types import Floats32, Frames
from attnscope.errors import InputError, quote
from attnscope.metrics.detection import watching
from attnscope.metrics.detection.blending import Thumbnails, fit_blend
from attnscope.metrics.detection.span import SPAN_THRESHOLD, SpanDetector
from attnscope.video.streams import ArrayVideo, Video

DetectorName = Literal["transnetv2", "content", "adaptive", "vote", "span"]
TransitionKind = Literal["cut", "dissolve"]

THRESHOLD = 0.3
"""Above this probability a frame ends a shot. The network's authors use 0.5, which misses cuts of generated video."""

INSIDE_THRESHOLD = 0.5
SHORTEST_SHOT_S = 0.2
_HARD_CUT_FRAMES = 2  # compression smears a hard cut over two frames
_STRAIGHT = 0.05  # drawn dissolves are this straight, as a share of the way (experiments/metrics_validation)
_FAINT, _FAINT_INSIDE, _VERY_STRAIGHT = (
    0.1,
    0.3,
    0.025,
)  # what the network half sees counts where the pixels agree
_VOTES = 2
_AGREE_FRAMES = 2


@dataclass(frozen=True)
class Transition:
    """How one shot becomes the next.

    ``cut_frame`` is the first frame in which the new shot prevails. Frames ``start_frame`` to ``stop_frame``
    (half-open) show both shots; for a hard cut there are none. ``probability`` is None where the detector gives none.
    """

    cut_frame: int
    start_frame: int
    stop_frame: int
    kind: TransitionKind
    probability: float | None

    @property
    def num_frames(self) -> int:
        """How many frames show both shots."""
        return self.stop_frame - self.start_frame


@dataclass(frozen=True)
class Detection:
    """What a detector found in a video, and how sure it was at every frame.

    ``ends`` (T,) is the probability that a shot ends with a frame (a cut at frame c shows at ``ends[c - 1]``),
    ``inside`` (T,) that the frame is part of a transition, ``thumbnails`` (T, 9, 16, 3) what each frame looked like;
    all are None for detectors that give no probability.
    """

    detector: DetectorName
    transitions: tuple[Transition, ...]
    num_frames: int
    fps: Fraction
    threshold: float | None
    arithmetic: str | None
    ends: Floats32 | None
    inside: Floats32 | None
    thumbnails: Thumbnails | None

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
) -> Detection:
    """Find the cuts of a video in memory.

    ``frames`` is uint8 (frames, height, width, 3). ``"transnetv2"`` is a trained network, the only one that gives
    probabilities and sees dissolves; ``"content"`` and ``"adaptive"`` are PySceneDetect's comparisons of neighbouring
    frames; ``"vote"`` accepts what two of these three report within 2 frames, and dissolves from the network alone.
    A shot shorter than ``shortest_shot_s`` is not believed: of two cuts closer than that the more probable stays.

    On drawn films (`attnscope.dataset`, 64 x 64, hard cuts) ``"adaptive"`` found every cut and no other, the network
    nearly every one; with dissolves only the network is right (experiments/metrics_validation). What small models make
    of such films is blurred over a latent frame at each cut, and there they see few of the cuts: ``"span"`` compares
    pictures four frames apart and is the one for such films (experiments/cut_detectors), and for no others.

    ``threshold`` is the probability (network, vote; 0.3 by default) or the novelty (span; 0.246) from which there is a
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
    >>> frames = np.repeat(np.array([30, 220], np.uint8), 20)[:, None, None, None] * np.ones((1, 32, 32, 3), np.uint8)
    >>> detect_cuts(frames, fps=16, detector="content").cuts_frame
    (20,)
    """
    chosen = CutDetector(
        detector, threshold=threshold, shortest_shot_s=shortest_shot_s, arithmetic=arithmetic
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
        self.detector: DetectorName = detector
        self.threshold = threshold
        self._shortest_shot_s = shortest_shot_s
        self._arithmetic = arithmetic
        self._parts: dict[str, watching.FrameDetector] = {}

    def begin(self) -> None:
        """Make ready for one video."""
        network = self.detector in ("transnetv2", "vote")
        names = ("content", "adaptive") if self.detector == "vote" else (self.detector,)
        self._used = (
            watching.native_arithmetic() if network and self._arithmetic == "auto" else self._arithmetic
        )
        self._parts = {
            name: SpanDetector(self.threshold) if name == "span" else watching.ClassicalDetector(name)
            for name in names
            if name != "transnetv2"
        }
        if network:
            self._parts["transnetv2"] = watching.NetworkDetector(
                "bfloat16" if self._used == "bfloat16" else "float32"
            )

    def process(self, picture: Any) -> None:
        """Take the next picture of the video."""
        for part in self._parts.values():
            part.process(picture)

    def finish(self, num_frames: int, fps: Fraction) -> Detection:
        """Say what was found in the video."""
        found = {name: part.finish() for name, part in self._parts.items()}
        ends, inside, thumbnails = found.pop("transnetv2", (None, None, None))
        candidates = [] if ends is None else transitions(ends, inside, thumbnails, threshold=self.threshold)
        if self.detector == "vote":
            chosen = _vote(candidates, *found.values())
        elif ends is None:
            chosen = [_hard_cut(frame) for frame in found[self.detector]]
        else:
            chosen = candidates
        shortest = float(self._shortest_shot_s * fps)
        return Detection(
            detector=self.detector,
            transitions=_drop_short_shots(chosen, num_frames, shortest),
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


def transitions(
    ends: Floats32, inside: Floats32, thumbnails: Thumbnails | None = None, *, threshold: float = THRESHOLD
) -> list[Transition]:
    """Read cuts and dissolves off the two curves of the network, and off the pixels.

    A place where ``ends`` exceeds the threshold is a transition. If ``inside`` stays above 0.5 around it for more
    than 2 frames, those frames are a dissolve, and the cut is in their middle; otherwise it is a hard cut right after
    the highest ``ends``. A long fade through black can stay below the threshold and be missed; ``inside`` still shows
    it.

    With ``thumbnails`` (frames, height, width, 3) the extent is that of the straight blend between two frames, where
    the pixels follow one; and a place that the network half sees (``ends`` above 0.1 or ``inside`` above 0.3) counts
    where they follow it closely.

    >>> ends, inside = np.zeros((2, 30), np.float32)
    >>> ends[9], inside[9], ends[20], inside[17:25] = 0.9, 0.9, 0.8, 0.7
    >>> [(each.kind, each.cut_frame, each.num_frames) for each in transitions(ends, inside)]
    [('cut', 10, 0), ('dissolve', 21, 8)]
    """
    found = []
    for start, stop in _find_runs((ends > threshold) | (inside > INSIDE_THRESHOLD)):
        peak = start + int(np.argmax(ends[start:stop]))
        if ends[peak] <= threshold:
            continue
        blended = [
            run
            for run in _find_runs(inside[start:stop] > INSIDE_THRESHOLD)
            if run[1] - run[0] > _HARD_CUT_FRAMES
        ]
        probability = float(ends[peak])
        if blended:
            found.append(_make_transition(start + blended[0][0], start + blended[-1][1], probability))
        elif peak + 1 < len(ends):
            found.append(Transition(peak + 1, peak + 1, peak + 1, "cut", probability))
    if thumbnails is None:
        return found
    measured = [_refine(each, ends, thumbnails) for each in found]
    faint = _find_faint(ends, inside, thumbnails, threshold)
    return _drop_overlapping([*measured, *faint])


def _make_transition(start: int, stop: int, probability: float | None) -> Transition:
    """A dissolve, or a hard cut where so few frames are blended that compression may have done it."""
    middle = (start + stop) // 2
    if stop - start > _HARD_CUT_FRAMES:
        return Transition(middle, start, stop, "dissolve", probability)
    return Transition(middle, middle, middle, "cut", probability)


def _refine(seen: Transition, ends: Floats32, thumbnails: Thumbnails) -> Transition:
    """The transition with the extent that the pixels show; as it was where they follow no straight blend."""
    first = max(0, seen.start_frame - 1)
    peak = first + int(np.argmax(ends[first : seen.stop_frame + 1]))
    blend = fit_blend(thumbnails, seen.start_frame, seen.stop_frame, peak)
    if blend is None or blend.error > _STRAIGHT:
        return seen
    better = _make_transition(blend.start, blend.stop, seen.probability)
    # a smeared cut stays at the frame that the network is surest of
    return seen if better.kind == seen.kind == "cut" else better


def _find_faint(
    ends: Floats32, inside: Floats32, thumbnails: Thumbnails, threshold: float
) -> list[Transition]:
    found = []
    for start, stop in _find_runs((ends > min(_FAINT, threshold)) | (inside > _FAINT_INSIDE)):
        if ends[start:stop].max() > threshold:
            continue
        blend = fit_blend(thumbnails, start + 1, stop, start + int(np.argmax((ends + inside)[start:stop])))
        if blend is not None and blend.error <= _VERY_STRAIGHT:
            found.append(_make_transition(blend.start, blend.stop, float(ends[start:stop].max())))
    return found


def _drop_overlapping(found: Sequence[Transition]) -> list[Transition]:
    """In order; of those that share frames only the most probable."""
    kept: list[Transition] = []
    for each in sorted(found, key=lambda each: -(each.probability or 0.0)):
        if all(each.start_frame > other.stop_frame or each.stop_frame < other.start_frame for other in kept):
            kept.append(each)
    return sorted(kept, key=lambda each: each.cut_frame)


def _find_runs(hot: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Stretches that are true, half-open."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], hot, [False]]).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _hard_cut(frame: int) -> Transition:
    return Transition(frame, frame, frame, "cut", None)


def _vote(network: Sequence[Transition], *others: Sequence[int]) -> list[Transition]:
    """What two of three report, at the network's place where it is one of them; dissolves as the network says."""
    chosen = [
        each
        for each in network
        if each.kind == "dissolve" or any(_is_near(each.cut_frame, frames) for frames in others)
    ]
    taken = [each.cut_frame for each in network]
    first, second = others
    agreed = [frame for frame in first if _is_near(frame, second) and not _is_near(frame, taken)]
    inside = [(each.start_frame, each.stop_frame) for each in chosen]
    agreed = [frame for frame in agreed if not any(start <= frame <= stop for start, stop in inside)]
    return sorted([*chosen, *map(_hard_cut, agreed)], key=lambda each: each.cut_frame)


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
