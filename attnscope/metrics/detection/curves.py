"""Read cuts and dissolves off the two curves of the network, and off the pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attnscope._types import Floats32
from attnscope.metrics.detection.blending import Thumbnails, fit_blend
from attnscope.metrics.detection.lasting import drop_flashes
from attnscope.metrics.detection.transition import HARD_CUT_FRAMES, Transition, find_runs, make_transition

THRESHOLD = 0.3
"""Above this probability a frame ends a shot. The network's authors use 0.5, which misses cuts of generated video."""

INSIDE_THRESHOLD = 0.5
_STRAIGHT = 0.05  # drawn dissolves are this straight, as a share of the way (experiments/metrics_validation)
_FAINT_INSIDE, _VERY_STRAIGHT = 0.3, 0.025

FAINT = 0.1
"""From this probability on the network half sees the end of a shot: it counts where something else agrees."""


def transitions(
    ends: Floats32,
    inside: Floats32,
    thumbnails: Thumbnails | None = None,
    *,
    threshold: float = THRESHOLD,
    shortest_frames: float = 2.0,
) -> list[Transition]:
    """Read cuts and dissolves off the two curves of the network, and off the pixels.

    A place where ``ends`` exceeds the threshold is a transition. If ``inside`` stays above 0.5 around it for more
    than 2 frames, those frames are a dissolve, and the cut is in their middle; otherwise it is a hard cut right after
    the highest ``ends``. A long fade through black can stay below the threshold and be missed; ``inside`` still shows
    it.

    With ``thumbnails`` (frames, height, width, 3) the extent is that of the straight blend between two frames, where
    the pixels follow one; and a place that the network half sees (``ends`` above 0.1 or ``inside`` above 0.3) counts
    where they follow it closely. What is taken back within ``shortest_frames`` is a flash, and nothing.

    >>> ends, inside = np.zeros((2, 30), np.float32)
    >>> ends[9], inside[9], ends[20], inside[17:25] = 0.9, 0.9, 0.8, 0.7
    >>> [(each.kind, each.cut_frame, each.num_frames) for each in transitions(ends, inside)]
    [('cut', 10, 0), ('dissolve', 21, 8)]
    """
    found = []
    for start, stop in find_runs((ends > threshold) | (inside > INSIDE_THRESHOLD)):
        peak = start + int(np.argmax(ends[start:stop]))
        if ends[peak] <= threshold:
            continue
        blended = [
            run
            for run in find_runs(inside[start:stop] > INSIDE_THRESHOLD)
            if run[1] - run[0] > HARD_CUT_FRAMES
        ]
        probability = float(ends[peak])
        if blended:
            found.append(make_transition(start + blended[0][0], start + blended[-1][1], probability))
        elif peak + 1 < len(ends):
            found.append(Transition(peak + 1, peak + 1, peak + 1, "cut", probability))
    if thumbnails is None:
        return found
    # before they are measured: a flash between two frames of a moving picture may pass for a blend of them
    lasting = drop_flashes(found, thumbnails, shortest_frames)
    measured = [_refine(each, ends, thumbnails) for each in lasting]
    faint = _find_faint(ends, inside, thumbnails, threshold, shortest_frames)
    return _drop_overlapping([*measured, *faint])


def _refine(seen: Transition, ends: Floats32, thumbnails: Thumbnails) -> Transition:
    """The transition with the extent that the pixels show; as it was where they follow no straight blend."""
    first = max(0, seen.start_frame - 1)
    peak = first + int(np.argmax(ends[first : seen.stop_frame + 1]))
    blend = fit_blend(thumbnails, seen.start_frame, seen.stop_frame, peak)
    if blend is None or blend.error > _STRAIGHT:
        return seen
    better = make_transition(blend.start, blend.stop, seen.probability)
    # a smeared cut stays at the frame that the network is surest of
    return seen if better.kind == seen.kind == "cut" else better


def _find_faint(
    ends: Floats32, inside: Floats32, thumbnails: Thumbnails, threshold: float, shortest_frames: float
) -> list[Transition]:
    """What the network half sees, where the pixels follow a straight blend very closely."""
    found = []
    for start, stop in find_runs((ends > min(FAINT, threshold)) | (inside > _FAINT_INSIDE)):
        if ends[start:stop].max() > threshold:
            continue
        peak = start + int(np.argmax((ends + inside)[start:stop]))
        place = Transition(peak + 1, peak + 1, peak + 1, "cut", float(ends[peak]))
        if not drop_flashes([place], thumbnails, shortest_frames):
            continue
        blend = fit_blend(thumbnails, start + 1, stop, peak)
        if blend is not None and blend.error <= _VERY_STRAIGHT:
            found.append(make_transition(blend.start, blend.stop, float(ends[start:stop].max())))
    return found


def _drop_overlapping(found: Sequence[Transition]) -> list[Transition]:
    """In order; of those that share frames only the most probable."""
    kept: list[Transition] = []
    for each in sorted(found, key=lambda each: -(each.probability or 0.0)):
        if all(each.start_frame > other.stop_frame or each.stop_frame < other.start_frame for other in kept):
            kept.append(each)
    return sorted(kept, key=lambda each: each.cut_frame)
