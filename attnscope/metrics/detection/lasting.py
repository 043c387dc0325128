"""Tell cuts from what only looks like one: a flash, a fade at an end, a fade through black that is one cut and not two.

A cut parts two shots, so what was seen before it is not seen again right behind it, and there is a picture on both
sides. Black and white are no pictures. All of it is read off thumbnails, whichever detector found the places.

Legend: T frames; thumbnails are (T, h, w, 3) RGB uint8; levels are grey levels of 255.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from attnscope._types import Floats32, Frames
from attnscope.metrics.detection.transition import Transition, find_runs, make_transition

_BLANK = 4.0  # levels; a picture that varies by less shows nothing
_BLANK_SHARE = 0.2  # of the usual contrast of the film
_DARK, _BRIGHT = 40.0, 215.0  # levels; blank and in between is a grey or coloured wall, which may be a shot
_DEEP = 0.35  # of the contrast on both sides: so far down a fade is almost black
_AROUND_FRAMES = 32  # where the contrast on both sides is looked for
_STEP = 0.98  # in a fade every frame has less contrast than its neighbour outwards
_SAME_PATTERN = 0.8  # correlation of two pictures, of whatever brightness, that show the same
_UNDONE = 0.4  # of a change that is left when it is taken back
_SMALLEST_CHANGE = 3.0  # levels, root mean square; below it the two sides are one picture
_LEAST_STRUCTURE = 8.0  # levels; a film of flat colours has no blank frames, only shots
_AT_ONCE = 4096  # frames; a long film is measured piece by piece


class _Gap(NamedTuple):
    """A stretch of black or white with the fades into and out of it: frames ``start`` to ``stop`` (half-open)."""

    start: int
    stop: int
    first_new: int  # the first frame that shows the new shot
    is_blank: bool  # for a frame at least nothing is to be seen


def keep_lasting(found: Sequence[Transition], thumbnails: Frames, shortest_frames: float) -> list[Transition]:
    """Leave of the transitions those that part two shots, and make one of those around black.

    Parameters
    ----------
    found : sequence of Transition
        What a detector reports.
    thumbnails : ndarray
        (T, h, w, 3) uint8.
    shortest_frames : float
        A change that is taken back within so many frames is a flash: no shot is that short.

    Returns
    -------
    list of Transition
        In order.

    Examples
    --------
    >>> shots = np.random.default_rng(0).integers(0, 256, (2, 9, 16, 3)).astype(np.uint8)
    >>> film = np.repeat(shots, 20, axis=0)
    >>> film[10] = 255
    >>> cuts = [Transition(frame, frame, frame, "cut", 0.9) for frame in (10, 11, 20)]
    >>> [each.cut_frame for each in keep_lasting(cuts, film, 4)]
    [20]
    """
    if not len(thumbnails):
        return list(found)
    film = _Film(thumbnails)
    kept = [each for each in found if 0 < each.cut_frame < len(thumbnails)]
    through = []
    for gap in film.gaps():
        inside = [
            each for each in kept if each.start_frame <= gap.stop + 1 and each.stop_frame >= gap.start - 1
        ]
        kept = [each for each in kept if each not in inside]
        is_seen = gap.is_blank or inside  # the light of a dark film comes and goes within a shot
        is_between = gap.start > 0 and gap.stop < len(thumbnails)
        if is_seen and is_between and not film.alike(gap.start - 1, gap.stop):
            through.append(_through(gap, inside))
    changed = [each for each in kept if film.change(each) >= _SMALLEST_CHANGE]
    lasting = drop_flashes(changed, thumbnails, shortest_frames)
    return sorted([*lasting, *through], key=lambda each: each.cut_frame)


def find_blanks(thumbnails: Frames) -> list[tuple[int, int]]:
    """Find the stretches of black or white (half-open), with the fades into and out of them, at the ends of a film too.

    >>> picture = np.random.default_rng(0).integers(0, 256, (1, 9, 16, 3)).astype(np.uint8)
    >>> find_blanks(np.concatenate([0 * picture, 0 * picture, *12 * [picture]]))
    [(0, 2)]
    """
    if not len(thumbnails):
        return []
    return [(gap.start, gap.stop) for gap in _Film(thumbnails).gaps() if gap.is_blank]


def drop_flashes(found: Sequence[Transition], thumbnails: Frames, shortest_frames: float) -> list[Transition]:
    """Leave of the transitions those whose change is not taken back at once; see :func:`keep_lasting`."""
    film, reach = _Film(thumbnails), max(2, math.ceil(shortest_frames))
    return [each for each in found if not film.is_taken_back(each, reach)]


def _through(gap: _Gap, inside: Sequence[Transition]) -> Transition:
    """One transition for all that was seen around the black."""
    probabilities = [each.probability for each in inside if each.probability is not None]
    votes = [each.num_votes for each in inside if each.num_votes is not None]
    whole = make_transition(gap.start, gap.stop, max(probabilities, default=None))
    kind_of_cut = whole.kind == "cut"
    return dataclasses.replace(
        whole,
        cut_frame=gap.first_new,
        start_frame=gap.first_new if kind_of_cut else gap.start,
        stop_frame=gap.first_new if kind_of_cut else gap.stop,
        num_votes=max(votes, default=None),
    )


class _Film:
    """What is measured of the thumbnails: the mean and the contrast of every frame, the likeness of any two."""

    def __init__(self, thumbnails: Frames) -> None:
        self._thumbnails = thumbnails
        parts = [thumbnails[k : k + _AT_ONCE] for k in range(0, len(thumbnails), _AT_ONCE)]
        self._mean = np.concatenate([part.mean(axis=(1, 2, 3), dtype=np.float32) for part in parts])
        spread = [part.std(axis=(1, 2), dtype=np.float32).mean(axis=1) for part in parts]
        self._contrast: Floats32 = np.concatenate(spread)

    def gaps(self) -> Iterator[_Gap]:
        """Find black and white stretches with their fades."""
        extreme = (self._mean < _DARK) | (self._mean > _BRIGHT)
        # of a film by night less is black
        blank = extreme & (self._contrast < min(_BLANK, _BLANK_SHARE * float(np.median(self._contrast))))
        if not (self._contrast[~blank] > _LEAST_STRUCTURE).sum() > blank.size // 10:
            return
        deep = blank | (extreme & (self._contrast < _DEEP * self._beside()))
        for low, high in find_runs(deep):
            first_blank, first_new = self._edges(low, high, blank)
            if blank[first_blank:first_new].all():
                start, stop = self._outwards(low, -1), self._outwards(high - 1, 1) + 1
                yield _Gap(start, stop, first_new, first_blank < first_new)

    def _edges(self, low: int, high: int, blank: npt.NDArray[np.bool_]) -> tuple[int, int]:
        """Part dark frames into what is left of the old shot, what shows nothing, and what is there of the new one.

        A frame that shows something belongs to the shot beside it if it shows the same as its neighbour there; a dark
        shot of its own does not.
        """
        left, right = low, high
        while low > 0 and left < high and not blank[left] and self.alike(left, left - 1):
            left += 1
        while high < len(blank) and left < right and not blank[right - 1] and self.alike(right - 1, right):
            right -= 1
        return left, right

    def _beside(self) -> Floats32:
        """The contrast of the shots on both sides of every frame: the lesser one, or the only one there is."""
        num = len(self._contrast)
        padded = np.pad(self._contrast, _AROUND_FRAMES, constant_values=-1)
        windows = np.lib.stride_tricks.sliding_window_view(padded, _AROUND_FRAMES).max(axis=1)
        before, behind = windows[:num], windows[_AROUND_FRAMES + 1 :]
        before, behind = np.where(before < 0, behind, before), np.where(behind < 0, before, behind)
        return np.asarray(np.minimum(before, behind), np.float32)

    def _outwards(self, frame: int, step: int) -> int:
        """Follow a fade from its dark end to its last frame."""
        while True:
            beside, further = frame + step, frame + 2 * step
            if not (0 <= further < len(self._contrast)):
                return frame
            fades = self._contrast[beside] < _STEP * self._contrast[further]
            if not fades or not self.alike(beside, further):
                return frame
            frame = beside

    def change(self, seen: Transition) -> float:
        """How far the picture goes from that before a transition, in levels."""
        before, behind = self._sides(seen)
        return max(self._distance(before, each) for each in range(before + 1, behind + 1))

    def is_taken_back(self, seen: Transition, reach: int) -> bool:
        """Say whether the picture before is seen again right behind: A B A is a flash, from either side of B."""
        before, behind = self._sides(seen)
        undone = self._nearest(before, range(behind, min(behind + reach + 1, len(self._contrast))))
        forestalled = self._nearest(behind, range(max(0, before - reach), before + 1))
        return min(undone, forestalled) < _UNDONE * self.change(seen)

    def _sides(self, seen: Transition) -> tuple[int, int]:
        """The last frame before a transition and the first behind it."""
        return max(0, seen.start_frame - 1), min(seen.stop_frame, len(self._contrast) - 1)

    def alike(self, one: int, other: int) -> bool:
        """Say whether two frames show the same, however dark."""
        return self._pattern(one, other) > _SAME_PATTERN

    def _pattern(self, one: int, other: int) -> float:
        """The correlation of two pictures, colour by colour."""
        a, b = (
            (picture - picture.mean(axis=(0, 1))).ravel()
            for picture in self._thumbnails[[one, other]].astype(np.float32)
        )
        length = float(np.sqrt((a @ a) * (b @ b)))
        return float(a @ b) / length if length else 0.0

    def _nearest(self, frame: int, others: range) -> float:
        return min(self._distance(frame, each) for each in others)

    def _distance(self, one: int, other: int) -> float:
        difference = self._thumbnails[one].astype(np.float32) - self._thumbnails[other]
        return float(np.sqrt(np.mean(difference**2)))
