"""Score many videos: several at a time, and where it stopped the last time."""

from __future__ import annotations

import dataclasses
import functools
import gc
import hashlib
import json
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from attnscope import __version__
from attnscope._types import OnProgress
from attnscope.errors import AttnscopeError
from attnscope.metrics import control
from attnscope.metrics.scoring.kept_rows import load_row, save_row
from attnscope.metrics.scoring.manifests import Listed
from attnscope.metrics.scoring.score import Row, Settings, score_opened
from attnscope.metrics.scoring.workers import Workers, attempt
from attnscope.video.streams import FileVideo

ROW_KIND = "attnscope score of a video 2"


def score_videos(
    listed: Sequence[Listed],
    settings: Settings,
    *,
    folder: Path | None = None,
    jobs: int = 1,
    on_done: OnProgress | None = None,
) -> list[Row]:
    """Score every video of a list; one that cannot be scored becomes a row that says why, and the rest goes on.

    With ``folder`` each row is kept in a file of its own as soon as it is there, and taken from there the next time if
    the content of the video, request and settings are the same, whatever the file is called then; failures are tried
    again. ``jobs`` processes work at a time, each with one
    thread. The rows come in the order of the list.

    Raises
    ------
    SetupError
        A package that is needed is missing.
    """
    rows: dict[int, Row] = {}
    waiting = []
    for index, each in enumerate(listed):
        kept = None if folder is None else _load_earlier_row(folder, each, settings)
        if kept is None:
            waiting.append(index)
        else:
            rows[index] = kept
    if on_done and rows:
        on_done(len(rows), len(listed))
    for index, row in _score_all([(index, listed[index]) for index in waiting], settings, jobs):
        rows[index] = row
        if folder is not None and row["status"] == "ok":
            save_row(folder, _digest_request(listed[index], settings), row)
        if on_done:
            on_done(len(rows), len(listed))
    return [rows[index] for index in range(len(listed))]


def score_listed(each: Listed, settings: Settings) -> Row:
    """Score one video of a list, with what the list says of it in front; whatever it raises becomes its reason."""
    row = attempt(lambda: _score(each, settings), each.name)
    return _make_failed_row(each, row) if isinstance(row, AttnscopeError) else row


def _score(each: Listed, settings: Settings) -> Row:
    video = FileVideo(each.path, crop=each.crop)
    scores = score_opened(video, lambda video: each.request_at(video.fps, video.num_frames), settings)
    row = {**_head(each), "status": "ok", "error": None, **scores}
    if each.marked_cuts_frame is not None:
        seen = control.agreement(
            row["cuts_detected_frame"], each.marked_cuts_frame, tolerance_frame=settings.tolerance_frame
        )
        row["agreement_marked"] = {**seen._asdict(), "tolerance_frame": settings.tolerance_frame}
    return row


def _head(each: Listed) -> Row:
    """What the list says of a video."""
    marks = each.marked_cuts_frame
    return {
        "file": each.name,
        "method": each.method,
        "group": each.group,
        "cuts_marked_frame": None if marks is None else list(marks),
    }


def _make_failed_row(each: Listed, error: AttnscopeError) -> Row:
    return {**_head(each), "status": "failed", "error": str(error)}


def _score_all(
    waiting: Sequence[tuple[int, Listed]], settings: Settings, jobs: int
) -> Iterator[tuple[int, Row]]:
    """Score what is waiting, the largest files first: a long film that came last would run alone."""
    jobs = min(jobs, len(waiting))
    ordered = waiting if jobs <= 1 else sorted(waiting, key=lambda item: -_num_bytes(item[1].path))
    work = functools.partial(score_listed, settings=settings)
    films = [each for _, each in ordered]
    with Workers(jobs, prepare) as workers:
        for place, row in workers.run(work, films, lambda each: each.name):
            index, each = ordered[place]
            yield index, _make_failed_row(each, row) if isinstance(row, AttnscopeError) else row


def prepare() -> None:
    """Make a process ready that does one piece of work after another: one thread, and no search through its imports."""
    import torch

    torch.set_num_threads(1)
    gc.freeze()  # else a process takes a third of a second at its end to look through all that it imported


def _num_bytes(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _digest_request(each: Listed, settings: Settings) -> str:
    """What a kept row answers: a content, what was asked of it, and how. Names and places do not matter."""
    asked = {**dataclasses.asdict(each), "path": None, "name": None, "method": None, "group": None}
    facts = [__version__, _digest_content(each.path), asked, dataclasses.asdict(settings)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=_to_text).encode()).hexdigest()


def _digest_content(path: Path) -> str:
    # not size and time: both may stay when a film is replaced
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "unreadable"  # scored anew, to say why


def _to_text(value: object) -> str:
    if isinstance(value, Fraction | Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} in a contract")


def _load_earlier_row(folder: Path, each: Listed, settings: Settings) -> Row | None:
    """The row of an earlier run, with what this list says of the video in front."""
    row = load_row(folder, _digest_request(each, settings))
    return None if row is None else {**row, **_head(each)}
