"""Tell the frame rate of a video from the time stamps of its frames, and whether they are even.

Legend: N frames; stamps are whole numbers of ``time_base`` seconds.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from fractions import Fraction
from numbers import Rational
from typing import NamedTuple

import numpy as np

from attnscope._types import Floats
from attnscope.checks import require_number
from attnscope.errors import VideoError

JUMP_FRAMES, _DRIFT_FRAMES = (
    0.6,
    1.5,
)  # how far a frame may be from its place: from its neighbour's, and in all
_CHECK_FRAMES, _REORDERED_FRAMES = (
    512,
    32,
)  # how often frames are checked on the way; those that may come out of order
_SURE_FRAMES = 0.25  # a frame this far from its place is still known by its stamp alone
_NTSC = 1001  # the television rates are 24000/1001 and its like


class _Stretch(NamedTuple):
    """Least and greatest number of stamp units from frame to frame."""

    least: float
    most: float


class FrameClock:
    """Collects the stamps of frames as they come, and gives the rate in the end.

    What the header of a file says is only asked which of the rates it is that fit the stamps: Matroska counts in
    milliseconds, GIF in hundredths of a second, and no such stamps are exactly even. Stamps that come out of order, as
    in AVI, are put in order; where there are none, the rate of the header is all that is known.

    >>> clock = FrameClock(Fraction(1, 1000), declared=[Fraction(1000)], where="in clip.mkv")
    >>> for frame in range(48):
    ...     clock.tick(round(frame * 1000 / 24))
    >>> clock.rate()
    Fraction(24, 1)
    """

    def __init__(
        self,
        time_base: Fraction | None,
        *,
        declared: Iterable[Fraction | None],
        where: str,
        jump_frames: float = JUMP_FRAMES,
    ) -> None:
        self._time_base = time_base or Fraction(1)
        self._declared = [Fraction(rate) for rate in declared if rate]
        self._where, self._jump = where, jump_frames
        self._stamps, self._frames = array("q"), array("q")
        self.num_frames = 0

    def tick(self, stamp: int | None) -> None:
        """Take the stamp of the next frame; every now and then those so far are checked."""
        if stamp is not None:
            self._stamps.append(stamp)
            self._frames.append(self.num_frames)
        self.num_frames += 1
        if self.num_frames % _CHECK_FRAMES == 0 and len(self._stamps) > _REORDERED_FRAMES:
            self._require_even(*self._sort_stamps(_REORDERED_FRAMES))

    def rate(self) -> Fraction:
        """The rate that the stamps say, in frames per second.

        Raises
        ------
        VideoError
            The frames are not evenly spaced, or nothing says how fast they come.
        """
        if len(self._stamps) < 2:
            if not self._declared:
                raise VideoError(
                    expected="a frame rate",
                    got="neither time stamps nor a rate in the header",
                    where=self._where,
                    remedy="re-encode it",
                )
            return self._declared[0]
        stamps, frames = self._sort_stamps(0)
        self._require_even(stamps, frames)
        time, count = stamps[1:] - stamps[0], frames[1:] - frames[0]
        grain = self._grain(stamps)
        tight = _fit(time, count, grain)
        if tight.least > tight.most:  # they tremble by more than their grain
            fit = np.polyval(np.polyfit(frames, stamps, 1), frames)
            tight = _fit(time, count, 2 * float(np.abs(stamps - fit).max()))
        mean = Fraction(int(count[-1])) / (int(time[-1]) * self._time_base)
        even = not (time * count[-1] - count * time[-1]).any()
        return self._simplest(tight, mean, [mean] if even else [])

    def first_stamp(self, fps: Fraction) -> int | None:
        """The stamp of frame 0, where every other frame's follows from it to within a quarter of a frame.

        >>> clock = FrameClock(Fraction(1, 1000), declared=[], where="in clip.mkv")
        >>> for stamp in (7, 49, 90, 132):
        ...     clock.tick(stamp)
        >>> clock.first_stamp(Fraction(24)), clock.first_stamp(Fraction(30))
        (7, None)
        """
        if len(self._stamps) < self.num_frames:
            return None
        stamps = np.sort(np.array(self._stamps, np.int64))
        step = float(1 / (fps * self._time_base))
        off = np.abs(stamps - stamps[0] - step * np.arange(len(stamps)))
        return int(stamps[0]) if off.max() <= _SURE_FRAMES * step else None

    def _sort_stamps(self, unripe: int) -> tuple[Floats, Floats]:
        """Stamps and their frames; frames that may still be overtaken are left out."""
        num = len(self._stamps) - unripe
        stamps = np.sort(np.array(self._stamps, np.int64))[:num]
        return (stamps - stamps[0]).astype(float), np.array(self._frames, float)[:num]

    def _require_even(self, stamps: Floats, frames: Floats) -> None:
        steps, counts = np.diff(stamps), np.diff(frames)
        usual = float(stamps[-1] / (frames[-1] - frames[0]))
        off = np.abs(steps - usual * counts)
        steady = _steady(stamps[1:], frames[1:] - frames[0])
        if usual > 0 and off.max() <= max(1.0, self._jump * usual) and steady:
            return
        second, worst = float(self._time_base), int(off.argmax())
        raise VideoError(
            expected=f"a constant frame rate, frames {float(np.median(steps)) * second:.4f} s apart",
            got=f"{steps[worst] * second:.4f} s before frame {int(frames[worst + 1])}",
            where=self._where,
            remedy="re-encode it at a constant rate",
        )

    def _grain(self, stamps: Floats) -> float:
        """The unit in which the stamps were once counted: a film that changed its container keeps the coarser one."""
        unit = float(math.gcd(*np.diff(stamps).astype(np.int64).tolist()))
        return unit if unit <= np.median(np.diff(stamps)) / 2 else 1.0

    def _simplest(self, stretch: _Stretch, mean: Fraction, exact: list[Fraction]) -> Fraction:
        """The rate that people would name among those that fit; of exactly even frames their own."""
        slow = 1 / (Fraction(stretch.most) * self._time_base)
        # two or three frames may be less than a grain apart
        fast = 1 / (Fraction(stretch.least) * self._time_base) if stretch.least > 0 else 2 * mean
        fitting = [rate for rate in self._declared if slow <= rate <= fast]
        named = [rate for rate in fitting if rate.denominator in (1, _NTSC)]
        whole = Fraction(round(mean))
        television = Fraction(1000 * math.ceil(mean), _NTSC)
        for rate in (*named, *exact, whole, television, *fitting):
            if slow <= rate <= fast and rate > 0:
                return rate
        return _simplest_between(slow, fast)


def _fit(time: Floats, count: Floats, grain: float) -> _Stretch:
    """The distances between frames at which every stamp is in place to within a grain."""
    return _Stretch(float(((time - grain) / count).max()), float(((time + grain) / count).min()))


def _steady(time: Floats, count: Floats) -> bool:
    """Say whether there is a distance between frames with which none drifts far from its place."""
    with np.errstate(divide="ignore"):
        least = time / (count + _DRIFT_FRAMES)
        most = np.where(count > _DRIFT_FRAMES, time / (count - _DRIFT_FRAMES), np.inf)
    return bool(least.max() <= most.min())


def _simplest_between(low: Fraction, high: Fraction) -> Fraction:
    """The fraction of the smallest denominator from low to high.

    >>> _simplest_between(Fraction(124, 10), Fraction(126, 10))
    Fraction(25, 2)
    """
    whole = low.numerator // low.denominator
    if whole == low or whole + 1 <= high:
        return Fraction(whole if whole == low else whole + 1)
    return whole + 1 / _simplest_between(1 / (high - whole), 1 / (low - whole))


def positive_rate(rate: Fraction | float) -> Fraction:
    """Take a frame rate as a fraction; refuses what is none."""
    remedy = "give frames per second"
    require_number(rate, "a positive frame rate", "as fps", above=0, remedy=remedy, error=VideoError)
    # not every number of numpy is one that a fraction is made of
    exact = rate if isinstance(rate, Rational) else float(rate)
    return Fraction(exact).limit_denominator(100_000)
