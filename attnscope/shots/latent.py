"""The latent frame grid of a causal video model, and the shots on it; ``shots.py`` gives both to the public."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from attnscope.checks import is_whole
from attnscope.errors import ShotPlanError, quote
from attnscope.shots.svg import card, ruler

Number = int | float | Fraction | str

# A ten million frame video plays for days; beyond it a number is a mistake or an attack on memory.
MAX_FRAMES = 10_000_000
_WRITTEN_NUMBER = re.compile(r"\s*\d{1,9}(\.\d{0,9})?\s*(/\s*\d{1,9}\s*)?", re.ASCII)


@dataclass(frozen=True)
class LatentPlan:
    """The shots as the model can make them: cuts at latent frames, beside the frames that were asked for.

    ``cuts`` are latent frames, ``requested_frame`` the video frames asked for, one per cut. ``num_frames``
    counts latent frames. Usually made by :meth:`ShotPlan.to_latent`.

    >>> plan = LatentPlan(21, (11,), 4, Fraction(16), requested_frame=(40,))
    >>> plan.realised_frame, plan.error_s, plan.frame_span(11)
    ((41,), (0.0625,), (41, 45))
    """

    num_frames: int
    cuts: tuple[int, ...]
    stride: int
    fps: Fraction
    requested_frame: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "fps", read_number(self.fps, "fps"))
        object.__setattr__(self, "num_frames", read_whole(self.num_frames, "number of latent frames"))
        require_grid(self.stride, self.num_frames, self.fps)
        object.__setattr__(self, "cuts", require_rising(self.cuts, self.num_frames, "latent frame"))
        object.__setattr__(self, "requested_frame", tuple(int(frame) for frame in self.requested_frame))
        if len(self.requested_frame) != len(self.cuts):
            raise ShotPlanError(
                expected="one requested frame per cut",
                got=f"{len(self.requested_frame)} requested frames for {len(self.cuts)} cuts",
                where="in this latent plan",
                remedy="make it with ShotPlan.to_latent",
            )

    @property
    def num_shots(self) -> int:
        """How many shots there are: one more than cuts."""
        return len(self.cuts) + 1

    @property
    def realised_frame(self) -> tuple[int, ...]:
        """The video frames at which the cuts will really fall."""
        return tuple(self.first_frame(cut) for cut in self.cuts)

    @property
    def error_s(self) -> tuple[float, ...]:
        """How much later than asked each cut falls, in seconds; negative is earlier."""
        pairs = zip(self.realised_frame, self.requested_frame, strict=True)
        return tuple(float((realised - requested) / self.fps) for realised, requested in pairs)

    @property
    def shot_of_frame(self) -> NDArray[np.int64]:
        """The shot, counted from 0, that each latent frame belongs to. Shape (num_frames,)."""
        return shot_of_position(self.cuts, self.num_frames)

    def first_frame(self, latent: int) -> int:
        """Return the first video frame of a latent frame; of ``num_frames``, where the video ends."""
        return grid_first_frame(latent, self.stride)

    def frame_span(self, latent: int) -> tuple[int, int]:
        """Return the video frames that a latent frame covers, half-open."""
        return grid_first_frame(latent, self.stride), grid_first_frame(latent + 1, self.stride)

    def _repr_html_(self) -> str:
        edges = [0, *self.cuts, self.num_frames]
        marks = [f"{edge} (frame {self.first_frame(edge)})" for edge in edges]
        return card(self.describe(), ruler(edges, marks, title=self.describe()))

    def describe(self) -> str:
        """Say the plan in one line, asked against possible cut by cut."""
        facts = f"{self.num_frames} latent frames (stride {self.stride}, {show_rate(self.fps)} fps)"
        parts = [f"{show_shots(self.num_shots)} on {facts}"]
        pairs = zip(self.requested_frame, self.realised_frame, strict=True)
        for number, (asked, real) in enumerate(pairs, start=1):
            where = f"frame {real} ({show_seconds(real, self.fps)})"
            parts.append(
                f"cut {number} falls as asked at {where}"
                if asked == real
                else f"cut {number} asked at frame {asked} ({show_seconds(asked, self.fps)}), falls at {where}"
            )
        return "; ".join(parts)


def read_number(number: Number, what: str) -> Fraction:
    """Read a number as it was written: 0.1 is one tenth, not the binary number nearest to it."""
    try:
        if isinstance(number, str) and not _WRITTEN_NUMBER.fullmatch(number):
            raise ValueError("not a plain number")
        return number if isinstance(number, Fraction) else Fraction(str(number).replace(" ", ""))
    except (ValueError, ZeroDivisionError) as error:
        raise ShotPlanError(
            expected=f"a finite number as {what}",
            got=quote(number),
            where="in this plan",
            remedy="write 2.5 or '30000/1001'",
        ) from error


def read_whole(number: object, what: str) -> int:
    """Read a whole number, also one of numpy's; a truth value is none."""
    try:
        if isinstance(number, bool | np.bool_):
            raise TypeError("a truth value")
        return operator.index(number)  # type: ignore[arg-type]
    except TypeError as error:
        raise ShotPlanError(
            expected=f"a whole number as {what}",
            got=quote(number),
            where="in this plan",
            remedy="write for instance 81",
        ) from error


def grid_first_frame(latent: int, stride: int) -> int:
    """Return the first video frame of a latent frame: 0, then stride * (latent - 1) + 1."""
    return 0 if latent == 0 else stride * (latent - 1) + 1


def shot_of_position(cuts: tuple[int, ...], num_positions: int) -> NDArray[np.int64]:
    """Return the shot of each position, given the first position of every shot but the first."""
    positions = np.arange(num_positions)
    return np.searchsorted(np.asarray(cuts, dtype=np.int64), positions, side="right").astype(np.int64)


def require_grid(stride: int, num_frames: int, fps: Fraction) -> None:
    """Refuse clocks that cannot tick."""
    if read_whole(stride, "temporal stride") < 1:
        raise ShotPlanError(
            expected="a temporal stride of at least 1",
            got=f"{stride}",
            where="in this plan",
            remedy="Wan uses 4",
        )
    if not 1 <= num_frames <= MAX_FRAMES or fps <= 0:
        raise ShotPlanError(
            expected=f"1 to {MAX_FRAMES} frames and a positive fps",
            got=f"{quote(num_frames)} frames at {fps} fps",
            where="in this plan",
            remedy="check duration and fps",
        )


def require_rising(cuts: Iterable[int], num_frames: int, unit: str) -> tuple[int, ...]:
    """Return the cuts as plain whole numbers, after checking that each begins a shot inside the video."""
    given = tuple(cuts)
    if any(not is_whole(cut) and not isinstance(cut, np.integer) for cut in given):
        raise ShotPlanError(
            expected=f"cuts as whole {unit}s",
            got=quote(given),
            where="in this plan",
            remedy="use from_seconds for seconds",
        )
    whole = tuple(int(cut) for cut in given)
    if any(not 1 <= cut < num_frames for cut in whole):
        raise ShotPlanError(
            expected=f"every cut among {unit}s 1 to {num_frames - 1}",
            got=quote(whole),
            where=f"in a video of {num_frames} {unit}s",
            remedy="a cut is the first frame of a new shot, move or drop it",
        )
    if any(first >= second for first, second in pairwise(whole)):
        raise ShotPlanError(
            expected="rising cuts",
            got=f"{unit}s {quote(whole)}",
            where="in this plan",
            remedy="order them and let each shot have at least one frame",
        )
    return whole


def show_seconds(frame: int, fps: Fraction) -> str:
    """Write when a frame is shown."""
    return f"{float(frame / fps):g} s"


def show_rate(fps: Fraction) -> str:
    """Write a frame rate."""
    return f"{float(fps):g}"


def show_shots(num_shots: int) -> str:
    """Write how many shots there are."""
    return "1 shot" if num_shots == 1 else f"{num_shots} shots"
