"""The rows that go from stage to stage: a source, the film that was seen in it, the clips that come out of it.

All frames are 0-based, all stretches half-open. Frame rates are fractions written as text, "24000/1001". Whatever a
stage decides stands in the row with its reason, and no row is ever left out.
"""

from __future__ import annotations

import hashlib
from fractions import Fraction
from typing import Literal

import msgspec

from attnscope.shots import ShotPlan

Decision = Literal["kept", "dropped"]
CaptionState = Literal["ok", "skipped", "failed"]
RemovedKind = Literal["transition", "black or white", "too short for a shot"]


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file that was given: where it lies below its folder, and what is in it.

    ``source_id`` are 16 digits of the hash of both.
    """

    source_id: str
    file: str
    num_bytes: int
    sha256: str


class Piece(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What lies between two cuts of the quick pass, and how it looks.

    ``motion`` is the mean change of its thumbnails over half a second, ``contrast`` the mean spread within them, both
    in grey levels of 255; ``print`` the hexadecimal digits of a fingerprint of its middle frame; ``likeness`` how alike
    its last frame and the first of the next piece are, from -1 to 1, None for the last piece.
    """

    start_frame: int
    stop_frame: int
    motion: float
    contrast: float
    print: str
    likeness: float | None


class Film(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the quick pass saw in a source.

    ``first_stamp`` is the time stamp of frame 0 where every frame can be found by its own. ``judged_frames`` are the
    frames that the aesthetic encoder saw and ``judgements`` its marks from 0 to 1; where there is no such encoder,
    ``unjudged`` says why.
    """

    source: Source
    num_frames: int
    fps: str
    width: int
    height: int
    first_stamp: int | None
    pieces: tuple[Piece, ...]
    judged_frames: tuple[int, ...]
    judgements: tuple[float, ...]
    unjudged: str | None


class Shot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One shot of a clip: its frames in the clip, the same frames in the source, and what is said of it."""

    start_frame: int
    stop_frame: int
    source_start_frame: int
    source_stop_frame: int
    caption: str | None = None


class Removed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Frames of the source that were taken out of a clip, and why."""

    start_frame: int
    stop_frame: int
    kind: RemovedKind


class Clip(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A clip: what was joined, measured, decided, cut out and said.

    Until ``defade`` looked at it, ``shots`` are the pieces it was joined from, and it has no frames of its own: what
    the quick pass took for shots.
    """

    clip_id: str
    source_id: str
    file: str
    start_frame: int
    stop_frame: int
    fps: str
    width: int
    height: int
    first_stamp: int | None
    num_source_frames: int
    shots: tuple[Shot, ...]
    likeness: tuple[float, ...]
    motion: float
    contrast: float
    print: str
    aesthetic: float | None = None
    unjudged: str | None = None
    decision: Decision = "kept"
    reasons: tuple[str, ...] = ()
    removed: tuple[Removed, ...] = ()
    detector: str | None = None
    uri: str | None = None
    sha256: str | None = None
    caption: str | None = None
    caption_state: CaptionState = "skipped"
    caption_reason: str | None = None
    captioner: str | None = None

    @property
    def num_frames(self) -> int:
        """How many frames the clip has once it is cut: those of its shots."""
        return sum(shot.stop_frame - shot.start_frame for shot in self.shots)

    @property
    def duration_s(self) -> float:
        """How long it plays, in seconds."""
        return float(self.num_frames / Fraction(self.fps))

    def drop(self, reason: str) -> Clip:
        """Decide against the clip; reasons add up."""
        return msgspec.structs.replace(self, decision="dropped", reasons=(*self.reasons, reason))

    def plan(self) -> ShotPlan:
        """Where the clip is cut, on its own frame clock."""
        cuts = [shot.start_frame for shot in self.shots[1:]]
        return ShotPlan.from_frames(cuts, num_frames=self.num_frames, fps=Fraction(self.fps))


def identify(*facts: object) -> str:
    """Name a thing by 16 digits of the hash of what makes it up: the same anywhere and at any time.

    >>> identify("films/a.mp4", 0, 250)
    'f34841ac5f72ddc0'
    """
    return hashlib.sha256("\0".join(map(str, facts)).encode()).hexdigest()[:16]


def cut_shots(spans: list[tuple[int, int]]) -> tuple[Shot, ...]:
    """Lay stretches of a source behind one another: each becomes a shot of the clip.

    >>> [(shot.start_frame, shot.source_start_frame) for shot in cut_shots([(10, 30), (40, 50)])]
    [(0, 10), (20, 40)]
    """
    shots, at = [], 0
    for start, stop in spans:
        shots.append(Shot(at, at + stop - start, start, stop))
        at += stop - start
    return tuple(shots)
