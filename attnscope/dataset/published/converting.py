"""Write a dataset in another form, and make one again out of that form."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from attnscope.dataset.published.archives import read_archives, write_archives
from attnscope.dataset.published.card import write_card
from attnscope.dataset.published.cine250k import LABELS, read_labels, write_labels
from attnscope.dataset.published.facts import collect_facts, write_facts
from attnscope.dataset.published.manifest import MANIFEST, write_manifest
from attnscope.dataset.published.tables import CLIPS, SourceRow, read_clips, write_tables
from attnscope.dataset.rows import Clip
from attnscope.errors import InputError
from attnscope.storage.disk import explain, partial_beside

Form = Literal["webdataset", "cine250k", "dataset"]


def convert(place: Path, out: Path, form: Form) -> list[Path]:
    """Write a dataset as archives or as the paper's labels, or, with ``dataset``, read either of them again.

    Archives hold whole rows, and come back as they were but for candidates that were dropped. The paper's labels
    hold shots and captions: they come back as a manifest beside the clips, which train, score and probe read.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    InputError
        The place holds no such form, or something in it is hostile or damaged.
    """
    if form == "webdataset":
        return write_archives(place, out)
    if form == "cine250k":
        return [write_labels(place, out / LABELS)]
    if place.is_dir():
        return _read_archives(place, out)
    return [_read_labels(place, out)]


def _read_archives(place: Path, out: Path) -> list[Path]:
    _require_new(out)
    by_source: dict[str, list[Clip]] = {}
    for clip in read_archives(place, out):
        by_source.setdefault(clip.source_id, []).append(clip)
    write_tables(out, ((_source_row(clips), clips) for clips in by_source.values()))
    write_manifest(out, read_clips(out))
    facts = collect_facts(out, None, None)
    write_facts(out, facts)
    return [out / CLIPS, out / MANIFEST, write_card(out, facts)]


def _source_row(clips: list[Clip]) -> SourceRow:
    """What clips say of the film they were cut from."""
    one = clips[0]
    return SourceRow(
        file=one.file,
        status="ok",
        error=None,
        source_id=one.source_id,
        num_frames=one.num_source_frames,
        fps=one.fps,
        first_stamp=one.first_stamp,
        num_candidates=len(clips),
        num_clips=len(clips),
    )


def _read_labels(labels: Path, out: Path) -> Path:
    """Write a manifest beside the clips that labels name."""
    path = out / MANIFEST
    partial = partial_beside(path)
    lines: Iterable[tuple[str, str, str, str]] = (
        (
            label.video,
            plan.to_spec(),
            label.caption or "",
            " | ".join(each.replace("|", "/") for each in label.captions),
        )
        for _, plan, label in read_labels(labels, out)
    )
    with explain(path):
        with partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("file", "shots", "caption", "captions"))
            writer.writerows(lines)
        partial.replace(path)
    return path


def _require_new(out: Path) -> None:
    if (out / CLIPS).exists():
        raise InputError(
            expected="a folder without a dataset", got="one", where=f"in {out}", remedy="name another"
        )
    with explain(out):
        out.mkdir(parents=True, exist_ok=True)
