"""Stitch neighbouring pieces of a film together again where they look like shots of one scene.

How alike two neighbours are is the cosine between the pictures on both sides of the cut, as a picture encoder has them:
the last frame of the one and the first of the other. Source: Panda-70M, arXiv 2402.19479, section 3.1; the paper's own
encoder is ImageBind, its threshold is not published.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from attnscope._types import Vectors
from attnscope.dataset.rows import Clip, Film, Piece, cut_shots, identify
from attnscope.dataset.settings import Settings
from attnscope.errors import SetupError
from attnscope.metrics.encoders.registry import Encoder, Missing, find_encoder
from attnscope.video.scaling import squeeze

if TYPE_CHECKING:
    import av

_DIGITS = 6  # of a likeness: what differs beyond is the order in which a processor adds


def seam_encoder() -> Encoder:
    """Give what tells how alike the two sides of a cut are.

    Raises
    ------
    SetupError
        None is installed.
    """
    found = find_encoder("visual", "efficientnet-lite0")
    if isinstance(found, Missing):
        raise SetupError(
            expected="an encoder of pictures to join shots by",
            got="none",
            where=f"in this environment: {found.reason}",
            remedy='install attnscope with pip install "attnscope[metrics]"',
        )
    return found


class Seams:
    """What is seen at the cuts of a film while it runs past: a vector of each side."""

    def __init__(self) -> None:
        self._encoder = seam_encoder()
        self._sides: dict[int, tuple[Vectors, Vectors]] = {}
        self.first: Vectors | None = None
        self.last: Vectors | None = None

    def open(self, picture: av.VideoFrame) -> None:
        """Take the first picture of the film."""
        self.first = self._encode(picture)[0]

    def process(self, frame: int, before: av.VideoFrame, picture: av.VideoFrame) -> None:
        """Take the pictures on both sides of a cut at ``frame``."""
        one, other = self._encode(before, picture)
        self._sides[frame] = one, other

    def close(self, picture: av.VideoFrame) -> None:
        """Take the last picture of the film."""
        self.last = self._encode(picture)[0]

    def has(self, cut: int) -> bool:
        """Say whether the pictures at a cut were seen."""
        return cut in self._sides

    def likeness_at(self, cut: int) -> float:
        """Say how alike both sides of a cut are, from -1 to 1."""
        one, other = self._sides[cut]
        return round(float(one @ other), _DIGITS)

    def sides(self) -> Iterator[tuple[Vectors, Vectors]]:
        """Give the vectors of both sides of each cut that was seen."""
        yield from self._sides.values()

    def _encode(self, *pictures: av.VideoFrame) -> Vectors:
        side = self._encoder.side
        return self._encoder.encode(np.stack([squeeze(picture, side, side) for picture in pictures]))


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
