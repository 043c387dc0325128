"""Split a film at its cuts, in one quick pass that also measures what the later stages decide by.

The detector is PySceneDetect's ContentDetector at its usual 27, a comparison of neighbouring frames: quick, and
blind to dissolves, which `defade` finds in the few films that are left by then. Every frame is decoded once, and
everything that needs a picture takes it as it runs past: the pictures on both sides of a cut for `stitch`, one every
few seconds for the aesthetic encoder. Nothing that grows with the film is kept but thumbnails of 432 bytes a frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from attnscope._types import Frames
from attnscope.dataset.judging import Judge
from attnscope.dataset.rows import Film, Piece, Source
from attnscope.dataset.settings import Settings
from attnscope.dataset.stitch import Seams
from attnscope.metrics.detection.cuts import CutDetector
from attnscope.metrics.detection.transition import Transition
from attnscope.storage.confined import confine
from attnscope.video.decoding import VideoFile

if TYPE_CHECKING:
    import av

_LAG_S = 0.5  # over which motion is measured
_DIGITS = 4  # of a measure in a row


def split(source: Source, settings: Settings, folder: Path) -> list[Film]:
    """Find where a film is cut, and see what its pieces look like.

    Parameters
    ----------
    source : Source
        A file below ``folder``.
    settings : Settings
        ``shortest_shot_s``: a cut that would leave less is not believed, nor is a flash.
    folder : Path
        Where the films lie.

    Returns
    -------
    list of Film
        One.

    Raises
    ------
    VideoError
        The file is no video that can be read to its end.
    """
    film, _ = split_with_seams(source, settings, folder)
    return [film]


def split_with_seams(source: Source, settings: Settings, folder: Path) -> tuple[Film, Seams]:
    """As :func:`split`; gives beside the film what was seen at its cuts."""
    video = VideoFile(confine(folder, source.file))
    detector = CutDetector("content", shortest_shot_s=settings.shortest_shot_s)
    detector.begin()
    seams, judge = Seams(), Judge(settings.judge_every_s)
    for frame, picture in enumerate(_run_past(video, detector, seams)):
        judge.process(frame, picture, video.fps)
    detection = detector.finish(video.num_frames, video.fps)
    cuts = [each.cut_frame for each in detection.transitions]
    _look_again(video, detection.transitions, seams)
    likeness = [*map(seams.likeness_at, cuts), None]
    spans = list(pairwise([0, *cuts, video.num_frames]))
    lag = max(1, round(_LAG_S * video.fps))
    judged = judge.finish()
    film = Film(
        source=source,
        num_frames=video.num_frames,
        fps=str(video.fps),
        width=video.size[1],
        height=video.size[0],
        first_stamp=video.first_stamp,
        pieces=tuple(
            _describe(start, stop, detection.thumbnails, lag, alike)
            for (start, stop), alike in zip(spans, likeness, strict=True)
        ),
        judged_frames=judged.frames,
        judgements=judged.marks,
        unjudged=judged.reason,
    )
    return film, seams


def _run_past(video: VideoFile, detector: CutDetector, seams: Seams) -> Iterator[av.VideoFrame]:
    """Let the film run past the detector; what lies on both sides of a cut goes to the seams."""
    before, num_reported = None, 0
    for frame, picture in enumerate(video):
        detector.process(picture)
        if before is None:
            seams.open(picture)
        elif detector.num_reported > num_reported:
            seams.process(frame, before, picture)
        num_reported, before = detector.num_reported, picture
        yield picture
    if before is not None:
        seams.close(before)


def _look_again(video: VideoFile, found: Sequence[Transition], seams: Seams) -> None:
    """Read the pictures on both sides of what was no cut between two frames: a fade through black, for instance."""
    for each in found:
        if not seams.has(each.cut_frame):
            places = max(0, each.start_frame - 1), min(each.stop_frame, video.num_frames - 1)
            before, behind = (
                next(video.stretch(place, place + 1, fps=video.fps, first_stamp=video.first_stamp))
                for place in places
            )
            seams.process(each.cut_frame, before, behind)


def _describe(start: int, stop: int, thumbnails: Frames, lag: int, likeness: float | None) -> Piece:
    here = thumbnails[start:stop].astype(np.float32)
    lag = min(lag, len(here) - 1)
    motion = float(np.abs(here[lag:] - here[:-lag]).mean()) if lag else 0.0
    contrast = float(here.std(axis=(1, 2)).mean())
    middle = thumbnails[(start + stop) // 2]
    return Piece(start, stop, round(motion, _DIGITS), round(contrast, _DIGITS), fingerprint(middle), likeness)


def fingerprint(thumbnail: Frames) -> str:
    """Reduce a thumbnail (9, 16, 3) to 128 bits that survive another size and compression: is it brighter to the right.

    >>> fingerprint(np.tile(np.arange(16, dtype=np.uint8)[:, None], (9, 1, 3)).reshape(9, 16, 3))
    'ffffffffffffffffffffffffffffffff'
    """
    grey = thumbnail.astype(np.int32).sum(axis=2)
    brighter = np.diff(grey, axis=1) > 0
    return np.packbits(brighter.ravel()[:128]).tobytes().hex()
