"""Results that are kept from one run to the next: one sealed file for each source and contract, whole or not there.

What a killed run had finished is there, and what it was at is done again. A result is named after everything it depends
on, the contract of the settings among it and the content of the film, and after nothing else: not when, where or by
which executor it was made.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from attnscope.dataset.rows import CaptionState, Clip, Film
from attnscope.storage.disk import explain
from attnscope.storage.sealed import Body, SealError, read_sealed, write_sealed

WORK = "work"
"""The folder of a dataset that holds kept results; it may be deleted when a build is done."""

_KIND = "attnscope dataset work 1"


class Joined(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What came of a source by itself: what was seen in it, and the candidates that were joined."""

    film: Film
    candidates: tuple[Clip, ...]


class Finished(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What came of the candidates of a source that were taken: cut out and written."""

    clips: tuple[Clip, ...]


class Caption(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is said of a clip: as a whole, and of each shot; where it is not, why."""

    clip_id: str
    state: CaptionState
    general: str | None
    shots: tuple[str, ...]
    captioner: str | None
    reason: str | None


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is said of the clips of a source."""

    captions: tuple[Caption, ...]


def load_kept(out: Path, stage: str, key: str, body: type[Body]) -> Body | None:
    """Take up a result; one that is damaged is not there."""
    try:
        return read_sealed(_place(out, stage, key), _KIND, body)
    except SealError:
        return None


def save_kept(out: Path, stage: str, key: str, body: msgspec.Struct) -> None:
    """Keep a result, whole or not at all."""
    path = _place(out, stage, key)
    with explain(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_sealed(path, _KIND, body)


def _place(out: Path, stage: str, key: str) -> Path:
    return out / WORK / stage / key[:2] / f"{key}.json"
