"""Score many videos: several at a time, and where it stopped the last time."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import json
import math
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec

from attnscope import __version__
from attnscope._types import OnProgress
from attnscope.errors import RunError, VideoError
from attnscope.metrics import control
from attnscope.metrics.scoring.manifests import Listed
from attnscope.metrics.scoring.score import Row, Settings, score_opened
from attnscope.storage.disk import explain
from attnscope.storage.sealed import SealError, read_sealed, write_sealed
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
    video, request and settings are the same; failures are tried again. ``jobs`` processes work at a time, each with one
    thread. The rows come in the order of the list.

    Raises
    ------
    SetupError
        A package that is needed is missing.
    RunError
        A process died, as it does when memory runs out.
    """
    rows: dict[int, Row] = {}
    waiting = []
    for index, each in enumerate(listed):
        kept = None if folder is None else _load_row(folder, each, settings)
        if kept is None:
            waiting.append(index)
        else:
            rows[index] = kept
    if on_done and rows:
        on_done(len(rows), len(listed))
    for index, row in _run_jobs([(index, listed[index]) for index in waiting], settings, jobs):
        rows[index] = row
        if folder is not None:
            _save_row(folder, listed[index], settings, row)
        if on_done:
            on_done(len(rows), len(listed))
    return [rows[index] for index in range(len(listed))]


def score_listed(each: Listed, settings: Settings) -> Row:
    """Score one video of a list, with what the list says of it in front."""
    head: Row = {
        "file": each.name,
        "method": each.method,
        "group": each.group,
        "cuts_marked_frame": None if each.marked_cuts_frame is None else list(each.marked_cuts_frame),
    }
    try:
        video = FileVideo(each.path, crop=each.crop)
        scores = score_opened(video, each.request_at(video.fps), settings)
    except VideoError as error:
        return {**head, "status": "failed", "error": str(error)}
    row = {**head, "status": "ok", "error": None, **scores}
    if each.marked_cuts_frame is not None:
        seen = control.agreement(
            row["cuts_detected_frame"], each.marked_cuts_frame, tolerance_frame=settings.tolerance_frame
        )
        row["agreement_marked"] = {**seen._asdict(), "tolerance_frame": settings.tolerance_frame}
    return row


def _run_jobs(
    waiting: Sequence[tuple[int, Listed]], settings: Settings, jobs: int
) -> Iterator[tuple[int, Row]]:
    jobs = min(jobs, len(waiting))
    if jobs <= 1:
        for index, each in waiting:
            yield index, score_listed(each, settings)
        return
    # spawn, not fork: torch may already run threads here
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_prepare)
    try:
        # the largest files first: a long film that came last would run alone
        longest_first = sorted(waiting, key=lambda item: -_num_bytes(item[1].path))
        running = {pool.submit(score_listed, each, settings): index for index, each in longest_first}
        for done in as_completed(running):
            yield running[done], done.result()
    except BrokenProcessPool as error:
        raise RunError(
            expected=f"{jobs} processes to live",
            got="one that died while scoring",
            where="in score",
            remedy="run the same command with fewer --jobs, it goes on where it stopped",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _num_bytes(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _prepare() -> None:
    import torch

    torch.set_num_threads(1)
    gc.freeze()  # else a process takes a third of a second at its end to look through all that it imported


def _digest_request(each: Listed, settings: Settings) -> str:
    """What a kept row must agree with to be taken again. Where the file lies and how many work at it do not matter."""
    asked = {**dataclasses.asdict(each), "path": None}
    facts = [__version__, _digest_content(each.path), asked, dataclasses.asdict(settings)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=_to_text).encode()).hexdigest()


def _digest_content(path: Path) -> str:
    # not size and time: both may stay when a film is replaced
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "unreadable"  # scored anew, to say why


def _to_text(value: Any) -> str:
    if isinstance(value, Fraction | Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} in a contract")


def _row_path(folder: Path, each: Listed) -> Path:
    # two files of one name in different folders must not share a row
    return (
        folder
        / "rows"
        / f"{Path(each.name).stem[:60]}-{hashlib.sha256(each.name.encode()).hexdigest()[:8]}.json"
    )


class KeptRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row, and the request that it answers; ``nan`` are the places in it that hold nan, which JSON cannot."""

    request: str
    row: dict[str, Any]
    nan: list[list[str | int]]


def _load_row(folder: Path, each: Listed, settings: Settings) -> Row | None:
    try:
        kept = read_sealed(_row_path(folder, each), ROW_KIND, KeptRow)
    except SealError:
        return None  # a damaged row is a row that is not there
    if kept is None or kept.row.get("status") != "ok" or kept.request != _digest_request(each, settings):
        return None
    for *way, last in kept.nan:
        holder: Any = kept.row
        for step in way:
            holder = holder[step]
        holder[last] = math.nan
    return kept.row


def _save_row(folder: Path, each: Listed, settings: Settings, row: Row) -> None:
    path = _row_path(folder, each)
    with explain(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    nan: list[list[str | int]] = []
    plain = _without_nan(row, [], nan)
    write_sealed(path, ROW_KIND, KeptRow(_digest_request(each, settings), plain, nan))


def _without_nan(value: Any, way: list[str | int], found: list[list[str | int]]) -> Any:
    """The same value with null for nan; notes the way to each."""
    if isinstance(value, float) and math.isnan(value):
        found.append(way)
        return None
    if isinstance(value, dict):
        return {name: _without_nan(part, [*way, name], found) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part, [*way, index], found) for index, part in enumerate(value)]
    return value
