"""Take the frames of transitions out of a candidate: what is left are shots between hard cuts, known to the frame.

TransNetV2 looks at the candidate, and at 25 frames on each side of it, so that a dissolve at its edge is seen, too.
What shows two shots, or black between them, is taken out with a frame on each side; so is a black beginning, and
what is too short for a shot. A cut of the quick pass that the network does not see counts where the network half
sees it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from attnscope.dataset.rows import Clip, Removed, RemovedKind, cut_shots
from attnscope.dataset.screen import check_length, check_shots
from attnscope.dataset.settings import Settings
from attnscope.metrics.detection.curves import FAINT
from attnscope.metrics.detection.cuts import CutDetector, Detection
from attnscope.metrics.detection.lasting import find_blanks
from attnscope.metrics.detection.watching import CONTEXT_FRAMES
from attnscope.storage.confined import confine
from attnscope.video.decoding import VideoFile

if TYPE_CHECKING:
    import av

_NEAR = 2  # frames within which two cuts are one
_KINDS: tuple[RemovedKind, ...] = ("transition", "black or white", "too short for a shot")


def defade(clip: Clip, settings: Settings, folder: Path) -> list[Clip]:
    """Find the exact shots of a candidate, and take out the frames of its transitions.

    Parameters
    ----------
    clip : Clip
        A candidate that is kept so far; one that is not is given back as it is.
    settings : Settings
        ``transition_threshold``, ``margin_frames``, ``shortest_shot_s``; then length and shots are held against
        what a clip may have once more.
    folder : Path
        Where the films lie.

    Returns
    -------
    list of Clip
        One, with exact shots and the frames that were removed.

    Raises
    ------
    VideoError
        The film cannot be read any more.
    """
    if clip.decision == "dropped":
        return [clip]
    start = clip.start_frame - CONTEXT_FRAMES
    detection = _look(clip, settings, folder)
    cuts = [start + each.cut_frame for each in detection.transitions if not each.num_frames]
    cuts = sorted({*cuts, *_find_agreed(clip, detection, start)})
    removed = list(_find_removed(detection, start, settings.margin_frames))
    inside = range(clip.start_frame, clip.stop_frame)
    shortest = float(settings.shortest_shot_s * Fraction(clip.fps))
    spans, removed = _cut_out(inside, cuts, removed, shortest)
    finished = msgspec.structs.replace(
        clip, shots=cut_shots(spans), removed=tuple(removed), detector=_name(detection)
    )
    for reason in (*check_length(finished, settings), *check_shots(finished, settings)):
        finished = finished.drop(f"{reason}, once its transitions were taken out")
    return [finished]


def _look(clip: Clip, settings: Settings, folder: Path) -> Detection:
    detector = CutDetector(
        "transnetv2", threshold=settings.transition_threshold, shortest_shot_s=settings.shortest_shot_s / 3
    )
    detector.begin(excerpt=True)
    video, num_frames = VideoFile(confine(folder, clip.file)), 0
    for picture in _with_context(video, clip):
        detector.process(picture)
        num_frames += 1
    return detector.finish(num_frames, Fraction(clip.fps))


def _with_context(video: VideoFile, clip: Clip) -> Iterator[av.VideoFrame]:
    """Give the pictures of a candidate and those around it; where the film has no more, its last one again."""
    start, stop = clip.start_frame - CONTEXT_FRAMES, clip.stop_frame + CONTEXT_FRAMES
    first, behind = max(0, start), min(clip.num_source_frames, stop)
    pictures = video.stretch(first, behind, fps=Fraction(clip.fps), first_stamp=clip.first_stamp)
    picture = next(pictures)
    yield from itertools.repeat(picture, first - start)
    yield picture
    for picture in pictures:
        yield picture
    yield from itertools.repeat(picture, stop - behind)


def _name(detection: Detection) -> str:
    return f"{detection.detector} {detection.arithmetic} from {detection.threshold}"


def _find_agreed(clip: Clip, detection: Detection, offset: int) -> Iterator[int]:
    """Find the cuts of the quick pass that the network half sees, where it sees nothing else."""
    assert detection.ends is not None, "the network gives its curves"
    for shot in clip.shots[1:]:
        cut = shot.source_start_frame - offset
        seen = any(
            each.start_frame - _NEAR <= cut <= each.stop_frame + _NEAR for each in detection.transitions
        )
        around = detection.ends[max(0, cut - _NEAR) : cut + _NEAR - 1]
        if not seen and around.size and around.max() >= FAINT:
            yield offset + cut


def _find_removed(detection: Detection, offset: int, margin: int) -> Iterator[Removed]:
    soft = [(each.start_frame, each.stop_frame) for each in detection.transitions if each.num_frames]
    blank = find_blanks(detection.thumbnails)
    for kind, spans in zip(_KINDS, (soft, blank), strict=False):
        for start, stop in spans:
            yield Removed(offset + start - margin, offset + stop + margin, kind)


def _cut_out(
    inside: range, cuts: Sequence[int], removed: Sequence[Removed], shortest: float
) -> tuple[list[tuple[int, int]], list[Removed]]:
    """Give what is left of a stretch, cut where it is cut, and what was taken out of it.

    >>> spans, removed = _cut_out(range(0, 40), [10], [Removed(20, 25, "transition")], 3)
    >>> spans, [(each.start_frame, each.stop_frame) for each in removed]
    ([(0, 10), (10, 20), (25, 40)], [(20, 25)])
    """
    why: dict[int, RemovedKind] = {}
    for each in removed:
        for frame in range(max(each.start_frame, inside.start), min(each.stop_frame, inside.stop)):
            why.setdefault(frame, each.kind)
    spans = []
    for start, stop in _runs([frame for frame in inside if frame not in why], set(cuts)):
        if stop - start >= shortest:
            spans.append((start, stop))
        else:
            why.update(dict.fromkeys(range(start, stop), _KINDS[2]))
    taken_out = [
        Removed(start, stop, kind)
        for kind in _KINDS
        for start, stop in _runs([frame for frame in sorted(why) if why[frame] == kind], set())
    ]
    return spans, sorted(taken_out, key=lambda each: each.start_frame)


def _runs(frames: Sequence[int], cuts: set[int]) -> Iterator[tuple[int, int]]:
    """Stretches of neighbouring frames, ended by cuts too, half-open."""
    start = None
    for index, frame in enumerate(frames):
        if start is None or frame in cuts or frame != frames[index - 1] + 1:
            if start is not None:
                yield start, frames[index - 1] + 1
            start = frame
    if start is not None:
        yield start, frames[-1] + 1
