"""What is in a dataset, counted: how many of everything, why candidates were dropped, and the settings."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec

from attnscope import __version__
from attnscope._types import Document
from attnscope.dataset.published.tables import read_clips, read_sources
from attnscope.dataset.rows import Clip
from attnscope.dataset.settings import Settings
from attnscope.errors import InputError
from attnscope.storage.sealed import SealError, read_sealed, write_sealed

FACTS = "dataset.json"
"""The file in which a dataset says what it is."""

_KIND = "attnscope dataset 1"


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is in a dataset. ``dropped`` counts candidates by the first reason against them, without its numbers.

    ``settings`` are None where clips were taken out of archives, which do not say by which they were made.
    """

    version: str
    settings: Settings | None
    unjudged: str | None
    num_sources: int
    num_failed: int
    num_candidates: int
    num_clips: int
    num_shots: int
    num_frames: int
    num_removed_frames: int
    duration_s: float
    mean_duration_s: float | None
    clips_by_shots: dict[str, int]
    dropped: dict[str, int]
    captions: dict[str, int]


def collect_facts(out: Path, settings: Settings | None, unjudged: str | None) -> Facts:
    """Count what the tables of a dataset hold.

    Raises
    ------
    InputError
        A table cannot be read.
    """
    shots: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    captions: Counter[str] = Counter()
    sums = Counter[str]()
    duration_s = 0.0
    for clip in read_clips(out, decision=None):
        sums["candidates"] += 1
        if clip.decision == "dropped":
            dropped[_why(clip)] += 1
            continue
        shots[str(len(clip.shots))] += 1
        captions[clip.caption_state] += 1
        sums["frames"] += clip.num_frames
        sums["removed"] += sum(each.stop_frame - each.start_frame for each in clip.removed)
        duration_s += clip.duration_s
    status = Counter(source.status for source in read_sources(out))
    num_clips = shots.total()
    return Facts(
        version=__version__,
        settings=settings,
        unjudged=unjudged,
        num_sources=status.total(),
        num_failed=status["failed"],
        num_candidates=sums["candidates"],
        num_clips=num_clips,
        num_shots=sum(int(num) * count for num, count in shots.items()),
        num_frames=sums["frames"],
        num_removed_frames=sums["removed"],
        duration_s=round(duration_s, 3),
        mean_duration_s=round(duration_s / num_clips, 3) if num_clips else None,
        clips_by_shots=dict(sorted(shots.items(), key=lambda item: int(item[0]))),
        dropped=dict(sorted(dropped.items())),
        captions=dict(sorted(captions.items())),
    )


def write_facts(out: Path, facts: Facts) -> None:
    """Write what is in a dataset beside its tables."""
    write_sealed(out / FACTS, _KIND, facts)


def read_facts(folder: Path) -> Facts:
    """Read what a dataset says it is.

    Raises
    ------
    InputError
        The folder holds no dataset, or its file was changed.
    """
    try:
        facts = read_sealed(folder / FACTS, _KIND, Facts)
        reason = "none"
    except SealError as error:
        facts, reason = None, f"another file: {error}"
    if facts is None:
        raise InputError(
            expected=f"a dataset with its {FACTS}",
            got=reason,
            where=f"in {folder}",
            remedy="make one with attnscope dataset build",
        )
    return facts


def show_facts(facts: Facts) -> Document:
    """Lay the facts out as a document, for ``--json``."""
    shown: Document = msgspec.to_builtins(facts)
    return shown


def _why(clip: Clip) -> str:
    """The kind of the first reason against a clip: what stands in it but numbers and names."""
    first = clip.reasons[0] if clip.reasons else "no reason"
    kinds = {
        "shorter than": "too short",
        "longer than": "too long",
        "shot": "number of shots",
        "short side": "too small",
        "still": "still",
        "black": "black or blank",
        "looks like": "near-duplicate",
        "aesthetic": "aesthetic mark",
        "could not be": "could not be cut out",
    }
    return next((kind for sign, kind in kinds.items() if sign in first), first)
