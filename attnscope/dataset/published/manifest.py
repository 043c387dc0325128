"""The manifest of a dataset: the table that training, `score` and `probe --video` read, a line a clip that was kept."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from attnscope.dataset.rows import Clip
from attnscope.storage.disk import explain, partial_beside

MANIFEST = "manifest.csv"
"""How it is called, as in any folder of clips."""

_COLUMNS = ("file", "shots", "caption", "captions")


def write_manifest(out: Path, clips: Iterable[Clip]) -> Path:
    """Write the manifest; returns its path.

    ``|`` parts the captions of shots in it: where a caption holds one itself, it is written as ``/``.
    """
    path = out / MANIFEST
    partial = partial_beside(path)
    with explain(path):
        with partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(_COLUMNS)
            for clip in clips:
                captions = [(shot.caption or "").replace("|", "/") for shot in clip.shots]
                whole = " | ".join(captions) if all(captions) else ""
                writer.writerow([clip.uri, clip.plan().to_spec(), clip.caption or "", whole])
        partial.replace(path)
    return path
