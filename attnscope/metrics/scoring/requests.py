"""What was asked for in a video: put on its frame clock, and refused where it cannot be of this video."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from attnscope.errors import VideoError

_SPARE_FRAMES = (
    4  # shots may end this far from the end of a video, or half a second: encoders leave out a frame or two
)


@dataclass(frozen=True)
class Request:
    """What was asked for: the cuts where they are known, else how many shots, and the caption.

    ``cuts_s`` are the seconds that were asked for, ``cuts_frame`` the frames nearest to them, where they fell;
    ``notes`` say what is odd about them.

    >>> Request(num_shots=3).num_cuts, Request(cuts_frame=(10,)).num_cuts, Request().num_cuts
    (2, 1, None)
    """

    cuts_frame: tuple[int, ...] | None = None
    num_shots: int | None = None
    caption: str | None = None
    cuts_s: tuple[Fraction, ...] | None = None
    notes: tuple[str, ...] = ()

    @property
    def num_cuts(self) -> int | None:
        """How many cuts were asked for; None if nobody said."""
        if self.cuts_frame is not None:
            return len(self.cuts_frame)
        return None if self.num_shots is None else self.num_shots - 1


def require_inside(cuts_frame: tuple[int, ...], num_frames: int, what: str) -> None:
    """Refuse cuts that are none of this video: before its second frame, behind its last, or twice at one frame."""
    edges = (0, *cuts_frame, num_frames)
    if any(after <= before for before, after in pairwise(edges)):
        raise VideoError(
            expected=f"cuts that rise from frame 1 to frame {num_frames - 1}",
            got=f"frames {' '.join(map(str, cuts_frame[:12]))}",
            where=f"as {what} of a video of {num_frames} frames",
            remedy="give those of this video",
        )


def require_whole(stop_s: Fraction, num_frames: int, fps: Fraction) -> None:
    """Refuse shots that end long before a video does, or go on behind it."""
    length_s = num_frames / fps
    if abs(stop_s - length_s) * fps > max(Fraction(_SPARE_FRAMES), fps / 2):
        raise VideoError(
            expected=f"shots over the whole video, {float(length_s):.2f} s",
            got=f"shots that end at {float(stop_s):.2f} s",
            where="as shots",
            remedy="give every shot up to the end",
        )
