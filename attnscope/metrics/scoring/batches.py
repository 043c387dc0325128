"""Score many videos: several at a time, and where it stopped the last time."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import json
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

from attnscope import __version__
from attnscope._types import OnProgress
from attnscope.errors import AttnscopeError, RunError, SetupError, quote
from attnscope.metrics import control
from attnscope.metrics.scoring.kept_rows import load_row, save_row
from attnscope.metrics.scoring.manifests import Listed
from attnscope.metrics.scoring.score import Row, Settings, score_opened
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
    for index, row in _run_jobs([(index, listed[index]) for index in waiting], settings, jobs):
        rows[index] = row
        if folder is not None and row["status"] == "ok":
            save_row(folder, _digest_request(listed[index], settings), row)
        if on_done:
            on_done(len(rows), len(listed))
    return [rows[index] for index in range(len(listed))]


def score_listed(each: Listed, settings: Settings) -> Row:
    """Score one video of a list, with what the list says of it in front; whatever it raises becomes its reason."""
    head = _head(each)
    try:
        video = FileVideo(each.path, crop=each.crop)
        scores = score_opened(video, lambda video: each.request_at(video.fps, video.num_frames), settings)
    except SetupError:
        raise  # every video would fail alike
    except AttnscopeError as error:
        return {**head, "status": "failed", "error": str(error)}
    except Exception as error:
        return {**head, "status": "failed", "error": str(_unforeseen_error(error, each.name))}
    row = {**head, "status": "ok", "error": None, **scores}
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


def _unforeseen_error(error: Exception, name: str) -> RunError:
    """What nobody thought of, in one line: the trouble of one file is not that of the others."""
    return RunError(
        expected="a video that can be scored",
        got=f"{type(error).__name__}: {quote(str(error), 120)}",
        where=f"in {name}",
        remedy="leave it out, or report it with the file",
    )


def _run_jobs(
    waiting: Sequence[tuple[int, Listed]], settings: Settings, jobs: int
) -> Iterator[tuple[int, Row]]:
    jobs = min(jobs, len(waiting))
    if jobs <= 1:
        for index, each in waiting:
            yield index, score_listed(each, settings)
        return
    # the largest files first: a long film that came last would run alone
    left = dict(sorted(waiting, key=lambda item: -_num_bytes(item[1].path)))
    try:
        with _pool(jobs) as pool:
            running = {pool.submit(score_listed, each, settings): index for index, each in left.items()}
            for done in as_completed(running):
                row = done.result()
                del left[running[done]]
                yield running[done], row
    except BrokenProcessPool:
        # a process died, and took with it what the others were at: now each by itself, to see which one it is
        for index, each in left.items():
            yield index, _score_alone(each, settings)


def _score_alone(each: Listed, settings: Settings) -> Row:
    """Score one video in a process of its own, which may die of it."""
    try:
        with _pool(1) as pool:
            return pool.submit(score_listed, each, settings).result()
    except BrokenProcessPool:
        error = RunError(
            expected="a process that lives",
            got="one that died of this video, as it does when memory runs out",
            where=f"in {each.name}",
            remedy="leave it out, or score it where there is more memory",
        )
        return {**_head(each), "status": "failed", "error": str(error)}


@contextmanager
def _pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    # spawn, not fork: torch may already run threads here
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_prepare)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _num_bytes(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _prepare() -> None:
    import torch

    torch.set_num_threads(1)
    gc.freeze()  # else a process takes a third of a second at its end to look through all that it imported


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
