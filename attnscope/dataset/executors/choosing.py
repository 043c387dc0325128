"""Choose what does the work, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Literal, Protocol, get_args

from attnscope.dataset.jobs import Done, Job
from attnscope.errors import InputError, RunError, quote
from attnscope.metrics.scoring.batches import prepare
from attnscope.metrics.scoring.workers import Workers

ExecutorName = Literal["serial", "process", "ray"]


class Executor(Protocol):
    """Does a piece of work on each job and gives the answers as they come, each with the number of its job.

    ``name`` says of a job which it is; a job whose process died has an error for an answer.
    """

    def run(
        self, work: Callable[[Job], Done], items: Iterable[Job], name: Callable[[Job], str]
    ) -> Iterator[tuple[int, Done | RunError]]:
        """Do the work, and give each answer as soon as it is there."""


def choose_executor(name: ExecutorName, processes: int) -> AbstractContextManager[Executor]:
    """Give what does the work: ``serial`` here, ``process`` in so many processes, ``ray`` where Ray has room.

    Raises
    ------
    InputError
        There is no such executor.
    """
    if name not in get_args(ExecutorName):
        raise InputError(
            expected=f"an executor out of {', '.join(get_args(ExecutorName))}",
            got=quote(name),
            where="as executor",
            remedy="use one of them",
        )
    if name == "ray":
        from attnscope.dataset.executors.ray_data import RayData

        return RayData()
    return Workers(1 if name == "serial" else processes, prepare)
