"""Stitch neighbouring pieces of a film together again where they look like shots of one scene.

How alike two neighbours are is the cosine between the pictures on both sides of the cut, as `likeness` has them: the
last frame of the one and the first of the other. Source: Panda-70M, arXiv 2402.19479, section 3.1; the paper's own
threshold is not published.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from attnscope._types import Frames, Vectors
from attnscope.dataset.likeness import scene_encoder
from attnscope.dataset.rows import Clip, Film, Piece, cut_shots, identify
from attnscope.dataset.settings import Settings
from attnscope.video.scaling import Scaler

if TYPE_CHECKING:
    import av

_AT_ONCE = 8  # pictures for the encoder
_DIGITS = 6  # of a likeness: what differs beyond is the order in which a processor adds


class Seams:
    """What is seen at the cuts of a film while it runs past: a vector of each side.

    Pictures wait until there are a few, for the encoder is quicker with several at once.
    """

    def __init__(self) -> None:
        self._encoder = scene_encoder()
        self._scaler = Scaler()
        self._waiting: list[Frames] = []
        self._vectors: list[Vectors] = []
        self._ends: list[int] = []
        self._sides: dict[int, tuple[int, int]] = {}

    def open(self, picture: av.VideoFrame) -> None:
        """Take the first picture of the film."""
        self._ends.append(self._take(picture))

    def process(self, frame: int, before: av.VideoFrame, picture: av.VideoFrame) -> None:
        """Take the pictures on both sides of a cut at ``frame``."""
        self._sides[frame] = self._take(before), self._take(picture)

    def close(self, picture: av.VideoFrame) -> None:
        """Take the last picture of the film."""
        self._ends.append(self._take(picture))

    def has(self, cut: int) -> bool:
        """Say whether the pictures at a cut were seen."""
        return cut in self._sides

    def likeness_at(self, cut: int) -> float:
        """Say how alike both sides of a cut are, from -1 to 1."""
        before, behind = self.sides_at(cut)
        return round(float(before @ behind), _DIGITS)

    def sides_at(self, cut: int) -> tuple[Vectors, Vectors]:
        """Give the vectors of both sides of a cut."""
        before, behind = self._sides[cut]
        return self._vector(before), self._vector(behind)

    def ends(self) -> tuple[Vectors, Vectors]:
        """Give the vectors of the first and the last picture of the film."""
        first, last = self._ends
        return self._vector(first), self._vector(last)

    def _take(self, picture: av.VideoFrame) -> int:
        """Let a picture wait for the encoder; returns its number."""
        side = self._encoder.side
        self._waiting.append(self._scaler.colour(picture, side, side))
        if len(self._waiting) == _AT_ONCE:
            self._encode()
        return len(self._vectors) + len(self._waiting) - 1

    def _vector(self, number: int) -> Vectors:
        if number >= len(self._vectors):
            self._encode()
        return self._vectors[number]

    def _encode(self) -> None:
        self._vectors += list(self._encoder.encode(np.stack(self._waiting)))
        self._waiting = []


def stitch(film: Film, settings: Settings, contract: str) -> list[Clip]:
    """Join neighbouring pieces that are alike into candidates for clips.

    From the beginning of the film a candidate takes in the next piece as long as they are alike and it neither gets
    longer than a clip may be nor has more shots.

    Parameters
    ----------
    film : Film
        With its pieces, each with its likeness to the next.
    settings : Settings
        ``join_likeness``, ``longest_clip_s``, ``most_shots``.
    contract : str
        What the names of the candidates are bound to.

    Returns
    -------
    list of Clip
        Every piece is in exactly one of them, in order.
    """
    longest = settings.longest_clip_s * Fraction(film.fps)
    groups: list[list[Piece]] = []
    for before, piece in zip((None, *film.pieces), film.pieces, strict=False):
        joins = (
            before is not None
            and before.likeness is not None
            and before.likeness >= settings.join_likeness
            and len(groups[-1]) < settings.most_shots
            and piece.stop_frame - groups[-1][0].start_frame <= longest
        )
        if joins:
            groups[-1].append(piece)
        else:
            groups.append([piece])
    return [_candidate(film, group, contract) for group in groups]


def _candidate(film: Film, pieces: Sequence[Piece], contract: str) -> Clip:
    start, stop = pieces[0].start_frame, pieces[-1].stop_frame
    lengths = np.array([piece.stop_frame - piece.start_frame for piece in pieces])
    inside = [
        mark for frame, mark in zip(film.judged_frames, film.judgements, strict=True) if start <= frame < stop
    ]
    unjudged = film.unjudged or (None if inside else "no picture of it was judged")
    return Clip(
        clip_id=identify(film.source.source_id, start, stop, contract),
        source_id=film.source.source_id,
        file=film.source.file,
        start_frame=start,
        stop_frame=stop,
        fps=film.fps,
        width=film.width,
        height=film.height,
        first_stamp=film.first_stamp,
        num_source_frames=film.num_frames,
        shots=cut_shots([(piece.start_frame, piece.stop_frame) for piece in pieces]),
        likeness=tuple(piece.likeness for piece in pieces[:-1] if piece.likeness is not None),
        motion=round(float(np.average([piece.motion for piece in pieces], weights=lengths)), 4),
        contrast=round(float(np.average([piece.contrast for piece in pieces], weights=lengths)), 4),
        print=pieces[0].print + pieces[-1].print,
        aesthetic=round(float(np.mean(inside)), 6) if inside else None,
        unjudged=unjudged,
    )
