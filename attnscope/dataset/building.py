"""Build a dataset: films in, clips of several shots and tables out; stopped at any moment, it goes on from there.

Three rounds over the sources, each done by an executor: join (split, stitch), finish (defade, export), caption. Between
the first and the second `screen` decides, for two of its rules look at all candidates. Rounds leave their results as
files, and what is written in the end follows from these alone: the same whatever the executor, and however often a run
was killed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from attnscope._types import OnProgress
from attnscope.dataset import jobs
from attnscope.dataset.assembling import Assembly, Ends
from attnscope.dataset.captioning.choosing import NO_CAPTIONER, choose_captioner
from attnscope.dataset.executors.choosing import Executor, ExecutorName, choose_executor
from attnscope.dataset.export import CLIPS
from attnscope.dataset.jobs import Done, Job
from attnscope.dataset.published.card import write_card
from attnscope.dataset.published.facts import Facts, collect_facts, write_facts
from attnscope.dataset.published.manifest import write_manifest
from attnscope.dataset.published.tables import read_clips, write_tables
from attnscope.dataset.screen import set_standards
from attnscope.dataset.settings import Settings
from attnscope.dataset.sources import list_sources
from attnscope.errors import AttnscopeError, InputError, quote
from attnscope.metrics.scoring.workers import processors
from attnscope.storage.disk import explain, remove_partial_files


@dataclass(frozen=True)
class Built:
    """What a build came to: where it lies, what is in it, and how long it took."""

    out: Path
    facts: Facts
    took_s: float


def build_dataset(
    folder: str | Path,
    out: str | Path,
    *,
    settings: Settings | None = None,
    captioner: str = NO_CAPTIONER,
    captioner_model: str = "",
    executor: ExecutorName = "process",
    processes: int | None = None,
    on_progress: OnProgress | None = None,
) -> Built:
    """Make clips of several shots out of a folder of films, with their exact shots, and write them as a dataset.

    Parameters
    ----------
    folder : path
        The films, searched to the bottom.
    out : path
        The dataset: clips/, clips.parquet, sources.parquet, manifest.csv, dataset.json, README.md; and work/, which
        holds what a later run goes on from.
    settings : Settings
        Every number of the build; by default those of the paper.
    captioner : str
        ``none``, an address that speaks as OpenAI's does, or a vision-language model on this machine.
    captioner_model : str
        Which of its models an address is asked for.
    executor : str
        ``process``, ``serial`` or ``ray``: who does the work. The rows are the same.
    processes : int
        How many processes at a time; by default one for each processor.
    on_progress : callable
        Told (done, total) pieces of work, of all rounds together.

    Returns
    -------
    Built
        What is in it. A film that cannot be used is a row with its reason, and no error.

    Raises
    ------
    InputError
        The folder holds no film, or the place of the dataset is none.
    SetupError
        A package, the captioner or room on the disk is missing.
    """
    began = time.monotonic()
    folder, out = Path(folder), Path(out)
    files = list_sources(folder)
    _require_place(folder, out)
    if captioner != NO_CAPTIONER:
        choose_captioner(captioner, captioner_model)  # what cannot be asked is known before hours of work
    with explain(out):
        out.mkdir(parents=True, exist_ok=True)
        remove_partial_files(out)
    settings = settings or Settings()
    num_processes = processes or processors()
    assembly = Assembly(out, settings)
    blank = Job("", str(folder), str(out), settings, captioner=captioner, captioner_model=captioner_model)
    progress = _Progress(len(files) * (2 + (captioner != NO_CAPTIONER)), on_progress)
    with choose_executor(executor, num_processes) as workers:
        rounds = _Rounds(workers, progress)
        ends = _join(rounds, blank, files)
        candidates = (clip for each in ends for clip in assembly.candidates(each))
        assembly.standards = set_standards(candidates, settings)
        ends = _finish(rounds, blank, ends, assembly)
    if captioner != NO_CAPTIONER:
        # an address is asked side by side; a large model of this machine is loaded once, not in every process
        alone = "://" not in captioner and executor == "process"
        with choose_executor("serial" if alone else executor, num_processes) as workers:
            ends = _caption(_Rounds(workers, progress), blank, ends)
    write_tables(out, (assembly.rows(each) for each in ends))
    return Built(out, _publish(out, settings, assembly.standards.unjudged), time.monotonic() - began)


class _Progress:
    """Counts what is done over all rounds."""

    def __init__(self, total: int, on_progress: OnProgress | None) -> None:
        self._done, self._total = 0, total
        self._on_progress = on_progress or (lambda done, total: None)

    def advance(self, num: int) -> None:
        """Note that so much more is done."""
        self._done += num
        self._on_progress(self._done, self._total)


class _Rounds:
    """Does rounds of work with an executor."""

    def __init__(self, executor: Executor, progress: _Progress) -> None:
        self._executor, self._progress = executor, progress

    def run(self, work: Callable[[Job], Done], todo: Sequence[Job | None]) -> list[Done | None]:
        """Do one round; where there is nothing to do there is no end."""
        waiting = [(index, job) for index, job in enumerate(todo) if job is not None]
        ends: list[Done | None] = [None] * len(todo)
        self._progress.advance(len(todo) - len(waiting))
        for place, answer in self._executor.run(work, [job for _, job in waiting], lambda job: job.file):
            if isinstance(answer, AttnscopeError):
                answer = Done("failed", error=str(answer))
            ends[waiting[place][0]] = answer
            self._progress.advance(1)
        return ends


def _join(rounds: _Rounds, blank: Job, files: Sequence[str]) -> list[Ends]:
    todo = [msgspec.structs.replace(blank, file=file) for file in files]
    done = rounds.run(jobs.join_source, todo)
    return [Ends(file, each) for file, each in zip(files, done, strict=True) if each is not None]


def _finish(rounds: _Rounds, blank: Job, ends: Sequence[Ends], assembly: Assembly) -> list[Ends]:
    todo = []
    for each in ends:
        taken = assembly.choose_taken(each)
        job = msgspec.structs.replace(blank, file=each.file, joined=each.joined.key, taken=taken)
        todo.append(job if taken else None)
    done = rounds.run(jobs.finish_source, todo)
    return [replace(each, finished=end) for each, end in zip(ends, done, strict=True)]


def _caption(rounds: _Rounds, blank: Job, ends: Sequence[Ends]) -> list[Ends]:
    todo = [
        msgspec.structs.replace(blank, file=each.file, finished=each.finished.key)
        if each.finished is not None and each.finished.status == "ok"
        else None
        for each in ends
    ]
    done = rounds.run(jobs.caption_source, todo)
    return [replace(each, said=end) for each, end in zip(ends, done, strict=True)]


def _publish(out: Path, settings: Settings, unjudged: str | None) -> Facts:
    """Write what follows from the tables, and take away clips of earlier settings."""
    write_manifest(out, read_clips(out))
    facts = collect_facts(out, settings, unjudged)
    write_facts(out, facts)
    write_card(out, facts)
    named = {clip.uri for clip in read_clips(out)}
    with explain(out):
        for path in (out / CLIPS).glob("??/*.mp4"):
            if path.relative_to(out).as_posix() not in named:
                path.unlink()
    return facts


def _require_place(folder: Path, out: Path) -> None:
    inside = out.resolve().is_relative_to(folder.resolve()) or folder.resolve().is_relative_to(out.resolve())
    if inside or (out.exists() and not out.is_dir()):
        raise InputError(
            expected="a folder for the dataset, beside that of the films",
            got=quote(str(out)),
            where="as out",
            remedy="name another",
        )
