"""Choose what does the work, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Literal, Protocol, get_args

from attnscope.errors import InputError, RunError, quote
from attnscope.metrics.scoring.batches import prepare
from attnscope.workers import Answer, Item, Workers

ExecutorName = Literal["serial", "process", "ray"]


class Executor(Protocol):
    """Does a piece of work on each item and gives the answers as they come, each with the number of its item.

    ``name`` says of an item which it is; an item whose process died has an error for an answer.
    """

    def run(
        self, work: Callable[[Item], Answer], items: Iterable[Item], name: Callable[[Item], str]
    ) -> Iterator[tuple[int, Answer | RunError]]:
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
