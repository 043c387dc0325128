"""Shots on a frame clock, and where their cuts land on the coarser clock of the model's latent frames.

A video model of causal temporal stride s sees latent frame 0 = video frame 0 and latent frame k = video frames
s(k-1)+1 .. sk, so a cut can only happen at frames s(k-1)+1. Frames are half-open and counted from 0; times
are taken as the decimal numbers that were written, and the frame rate is a fraction, so nothing drifts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from attnscope.errors import ShotPlanError, quote
from attnscope.shots.latent import (
    LatentPlan,
    Number,
    grid_first_frame,
    read_number,
    read_whole,
    require_grid,
    require_rising,
    shot_of_position,
    show_rate,
    show_seconds,
    show_shots,
)
from attnscope.shots.svg import card, ruler
from attnscope.shots.text import ShotPrompt, parse_prompt, parse_spec

Snap = Literal["nearest", "floor", "ceil", "error"]


class Shot(NamedTuple):
    """The frames between two cuts: ``start`` is the first, ``stop`` the first that no longer belongs."""

    start: int
    stop: int


@dataclass(frozen=True)
class ShotPlan:
    """Where a video is cut: how many frames it has, at which frames a new shot begins, and how fast it plays.

    ``cuts_frame`` holds the first frame of every shot but the first. ``notes`` says what had to be rounded.

    Raises
    ------
    ShotPlanError
        A cut lies outside the video, or cuts do not rise, or the frame rate is not positive.

    Examples
    --------
    >>> plan = ShotPlan.from_seconds([2.5], duration=5.0, fps=16)
    >>> plan.num_frames, plan.cuts_frame, plan.shots
    (81, (40,), (Shot(start=0, stop=40), Shot(start=40, stop=81)))
    >>> print(plan.to_latent().describe())
    2 shots on 21 latent frames (stride 4, 16 fps); cut 1 asked at frame 40 (2.5 s), falls at frame 41 (2.5625 s)
    """

    num_frames: int
    cuts_frame: tuple[int, ...]
    fps: Fraction
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "fps", read_number(self.fps, "fps"))
        object.__setattr__(self, "num_frames", read_whole(self.num_frames, "number of frames"))
        require_grid(1, self.num_frames, self.fps)
        object.__setattr__(self, "cuts_frame", require_rising(self.cuts_frame, self.num_frames, "frame"))

    @classmethod
    def from_seconds(
        cls, cuts: Iterable[Number], *, duration: Number, fps: Number, stride: int = 4
    ) -> ShotPlan:
        """Plan shots from the seconds at which a new shot begins.

        A cut goes to the nearest frame. The number of frames is ``duration * fps`` rounded to the nearest
        ``stride * n + 1``, because a causal video model makes no other lengths; ``notes`` says so if it changed.

        >>> ShotPlan.from_seconds([1.5], duration=3, fps=8).notes
        ('duration 3 s at 8 fps is 24 frames, rounded to 25 = 4*6+1',)
        """
        rate = read_number(fps, "fps")
        num_frames, notes = _frames_of_duration(read_number(duration, "duration"), rate, stride)
        cuts_s = [read_number(cut, "cut") for cut in cuts]
        return cls(num_frames, tuple(_round(cut_s * rate) for cut_s in cuts_s), rate, notes)

    @classmethod
    def from_frames(cls, cuts: Iterable[int], *, num_frames: int, fps: Number) -> ShotPlan:
        """Plan shots from the frames at which a new shot begins.

        >>> ShotPlan.from_frames([41], num_frames=81, fps=16).cuts_s
        (2.5625,)
        """
        return cls(num_frames, tuple(cuts), read_number(fps, "fps"))

    @classmethod
    def from_latent_frames(
        cls, cuts: Iterable[int], *, num_frames_latent: int, fps: Number, stride: int = 4
    ) -> ShotPlan:
        """Plan shots from the latent frames at which a new shot begins: no snapping will be needed.

        >>> ShotPlan.from_latent_frames([11], num_frames_latent=21, fps=16).cuts_frame
        (41,)
        """
        rate = read_number(fps, "fps")
        require_grid(stride, num_frames_latent, rate)
        latent = require_rising(cuts, num_frames_latent, "latent frame")
        cuts_frame = tuple(grid_first_frame(cut, stride) for cut in latent)
        return cls(stride * (num_frames_latent - 1) + 1, cuts_frame, rate)

    @classmethod
    def from_prompt(cls, text: str, *, fps: Number, stride: int = 4) -> ShotPlan:
        """Read the shots out of a prompt that lists them, as CineTrans prompts do.

        The video ends where the last shot ends. :func:`parse_prompt` gives the captions of the same text.

        >>> text = "Two shots: a red ball; Shot 1: [0s, 2s] wide shot; Shot 2: [2s, 5s] close-up"
        >>> ShotPlan.from_prompt(text, fps=16).cuts_frame
        (32,)
        """
        return cls._from_spans(parse_prompt(text).times_s, fps, stride)

    @classmethod
    def from_spec(cls, spec: str, *, fps: Number, stride: int = 4) -> ShotPlan:
        """Read shots as they are given on the command line: ``"0-1.5s,1.5-3s"``, or in frames ``"0-24f,24-49f"``.

        Seconds make a video of ``stride * n + 1`` frames, as in :meth:`from_seconds`; frames are taken as they are.

        >>> ShotPlan.from_spec("0-24f,24-49f", fps=8).shots
        (Shot(start=0, stop=24), Shot(start=24, stop=49))
        """
        spans, unit = parse_spec(spec)
        if unit == "s":
            return cls._from_spans([(float(start), float(stop)) for start, stop in spans], fps, stride)
        if any(bound.denominator != 1 for span in spans for bound in span):
            raise ShotPlanError(
                expected="whole frames",
                got=quote(spec),
                where="in the shots",
                remedy='write "0-24f,24-49f" or use seconds',
            )
        return cls.from_frames([int(start) for start, _ in spans[1:]], num_frames=int(spans[-1][1]), fps=fps)

    @classmethod
    def _from_spans(cls, spans_s: Sequence[tuple[float, float]], fps: Number, stride: int) -> ShotPlan:
        return cls.from_seconds(
            [start for start, _ in spans_s[1:]], duration=spans_s[-1][1], fps=fps, stride=stride
        )

    def to_spec(self) -> str:
        """Write the shots in frames, as :meth:`from_spec` reads them.

        >>> ShotPlan.from_frames([24], num_frames=49, fps=8).to_spec()
        '0-24f,24-49f'
        """
        return ",".join(f"{shot.start}-{shot.stop}f" for shot in self.shots)

    def to_prompt(self, general: str, captions: Sequence[str]) -> str:
        """Write the shots into a prompt, as :meth:`from_prompt` reads them.

        Raises
        ------
        ShotPlanError
            There are not as many captions as shots.

        Examples
        --------
        >>> ShotPlan.from_frames([24], num_frames=49, fps=8).to_prompt("a red ball", ["wide shot", "close-up"])
        'Two shots: a red ball; Shot 1: [0s, 3s] wide shot; Shot 2: [3s, 6.125s] close-up'
        """
        if len(captions) != self.num_shots:
            raise ShotPlanError(
                expected=f"one caption for each of {show_shots(self.num_shots)}",
                got=f"{len(captions)}",
                where="in a prompt of this plan",
                remedy="give as many",
            )
        times_s = tuple((float(shot.start / self.fps), float(shot.stop / self.fps)) for shot in self.shots)
        return ShotPrompt(general, tuple(captions), times_s).to_text()

    @property
    def num_shots(self) -> int:
        """How many shots there are: one more than cuts."""
        return len(self.cuts_frame) + 1

    @property
    def shots(self) -> tuple[Shot, ...]:
        """The shots in order, in frames."""
        return tuple(Shot(*bounds) for bounds in pairwise((0, *self.cuts_frame, self.num_frames)))

    @property
    def cuts_s(self) -> tuple[float, ...]:
        """When each new shot begins, in seconds."""
        return tuple(float(cut / self.fps) for cut in self.cuts_frame)

    @property
    def duration_s(self) -> float:
        """How long the video plays, in seconds."""
        return float(self.num_frames / self.fps)

    @property
    def shot_of_frame(self) -> NDArray[np.int64]:
        """The shot, counted from 0, that each frame belongs to. Shape (num_frames,)."""
        return shot_of_position(self.cuts_frame, self.num_frames)

    def describe(self) -> str:
        """Say the plan in one line.

        >>> ShotPlan.from_frames([24], num_frames=49, fps=8).describe()
        '2 shots in 49 frames (6.125 s at 8 fps): 0-24, 24-49'
        """
        spans = ", ".join(f"{shot.start}-{shot.stop}" for shot in self.shots)
        facts = f"{self.num_frames} frames ({show_seconds(self.num_frames, self.fps)} at {show_rate(self.fps)} fps)"
        return "; ".join([f"{show_shots(self.num_shots)} in {facts}: {spans}", *self.notes])

    def _repr_html_(self) -> str:
        edges = [0, *self.cuts_frame, self.num_frames]
        marks = [f"{edge} ({show_seconds(edge, self.fps)})" for edge in edges]
        return card(self.describe(), ruler(edges, marks, title=self.describe()))

    def to_latent(self, stride: int = 4, *, snap: Snap = "nearest") -> LatentPlan:
        """Move the cuts to the latent frames of a model, and keep what was asked for beside what is possible.

        ``snap`` decides where a cut goes that lies inside a latent frame: to the ``"nearest"`` possible cut
        (the earlier of two at equal distance; never more than ``stride / 2`` frames away), to the one before
        it (``"floor"``: the mixed latent frame joins the new shot), to the one after it (``"ceil"``: it stays
        with the old shot), or nowhere (``"error"``). Stride 1 leaves every cut where it is.

        Raises
        ------
        ShotPlanError
            The video has no whole number of latent frames, a shot would become empty, or ``snap="error"`` and
            a cut lies inside a latent frame.

        Examples
        --------
        >>> ShotPlan.from_frames([65, 67], num_frames=81, fps=16).to_latent()
        Traceback (most recent call last):
            ...
        attnscope.errors.ShotPlanError: expected shots of at least one latent frame, which holds 4 frames here, got \
cuts at 4.06 s and 4.19 s (frames 65 and 67 at 16 fps) that fall in the same latent frame 17, so shot 2 would be \
empty, in to_latent; move the cuts apart or drop one
        """
        require_grid(stride, self.num_frames, self.fps)
        if snap not in get_args(Snap):
            raise ShotPlanError(
                expected='snap "nearest", "floor", "ceil" or "error"',
                got=quote(snap),
                where="in to_latent",
                remedy="use one of them",
            )
        if (self.num_frames - 1) % stride:
            below = (self.num_frames - 1) // stride * stride + 1
            raise ShotPlanError(
                expected=f"a video of {stride}n+1 frames for temporal stride {stride}",
                got=f"{self.num_frames} frames",
                where="in this shot plan",
                remedy=f"use {below} or {below + stride} frames",
            )
        num_latent = (self.num_frames - 1) // stride + 1
        cuts = tuple(self._snap_cut(cut, stride, snap) for cut in self.cuts_frame)
        self._require_no_empty_shot(cuts, num_latent, stride)
        return LatentPlan(num_latent, cuts, stride, self.fps, self.cuts_frame)

    def _snap_cut(self, cut_frame: int, stride: int, snap: Snap) -> int:
        below = (cut_frame - 1) // stride + 1
        excess = (cut_frame - 1) % stride
        if excess and snap == "error":
            earlier, later = grid_first_frame(below, stride), grid_first_frame(below + 1, stride)
            raise ShotPlanError(
                expected="cuts at the first frame of a latent frame",
                got="a cut",
                where=f"at frame {cut_frame} ({show_seconds(cut_frame, self.fps)}) inside latent frame {below}",
                remedy=f"cut at frame {earlier} or {later}, or choose another snap",
            )
        later_is_nearer = 2 * excess > stride
        return below + int(bool(excess) and (snap == "ceil" or (snap == "nearest" and later_is_nearer)))

    def _require_no_empty_shot(self, cuts: tuple[int, ...], num_latent: int, stride: int) -> None:
        long_enough = f"shots of at least one latent frame, which holds {stride} frames here"
        for shot, (first, second) in enumerate(pairwise(cuts), start=1):
            if first == second:
                a, b = self.cuts_frame[shot - 1], self.cuts_frame[shot]
                times = f"{float(a / self.fps):.2f} s and {float(b / self.fps):.2f} s"
                raise ShotPlanError(
                    expected=long_enough,
                    got=(
                        f"cuts at {times} (frames {a} and {b} at {show_rate(self.fps)} fps) that fall in the "
                        f"same latent frame {first}, so shot {shot + 1} would be empty"
                    ),
                    where="in to_latent",
                    remedy="move the cuts apart or drop one",
                )
        if cuts and cuts[-1] >= num_latent:
            last = self.cuts_frame[-1]
            raise ShotPlanError(
                expected=long_enough,
                got=(
                    f"a cut at {float(last / self.fps):.2f} s (frame {last} at {show_rate(self.fps)} fps) that falls "
                    f"behind the last latent frame {num_latent - 1}, so shot {self.num_shots} would be empty"
                ),
                where="in to_latent",
                remedy="move the cut earlier or drop it",
            )


def _round(number: Fraction) -> int:
    return math.floor(number + Fraction(1, 2))


def _frames_of_duration(duration_s: Fraction, fps: Fraction, stride: int) -> tuple[int, tuple[str, ...]]:
    if duration_s <= 0:
        raise ShotPlanError(
            expected="a positive duration",
            got=f"{quote(float(duration_s))} s",
            where="in this plan",
            remedy="write how long the video is",
        )
    wanted = duration_s * fps
    num_frames = stride * max(_round((wanted - 1) / max(stride, 1)), 0) + 1
    require_grid(stride, num_frames, fps)
    # a time that was written with all digits of a float still means a whole frame
    if abs(num_frames - wanted) < Fraction(1, 10**6):
        return num_frames, ()
    return num_frames, (
        f"duration {float(duration_s):g} s at {show_rate(fps)} fps is {float(wanted):g} frames, "
        f"rounded to {num_frames} = {stride}*{(num_frames - 1) // stride}+1",
    )
