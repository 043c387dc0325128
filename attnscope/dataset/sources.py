"""The films that are given: the video files of a folder, each below it and nowhere else."""

from __future__ import annotations

import hashlib
from pathlib import Path

from attnscope.dataset.rows import Source, identify
from attnscope.errors import InputError, quote
from attnscope.metrics.scoring.manifests import list_videos
from attnscope.storage.confined import confine


def list_sources(folder: Path) -> list[str]:
    """Name the video files of a folder, to the bottom, as paths below it; in the order of their bytes.

    Raises
    ------
    InputError
        There is no such folder, or no video in it.
    """
    if not folder.is_dir():
        raise InputError(
            expected="a folder of films",
            got=f"{quote(str(folder))}, which is none",
            where="in dataset build",
            remedy="check the path",
        )
    return [each.path.relative_to(folder).as_posix() for each in list_videos([folder])]


def identify_source(folder: Path, file: str) -> Source:
    """Read a film through once to know what it is: not by size and time, both may stay when a film is replaced.

    Raises
    ------
    InputError
        The file leads out of the folder, or is not there.
    """
    path = confine(folder, file)
    with path.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    return Source(identify(file, sha256), file, path.stat().st_size, sha256)
