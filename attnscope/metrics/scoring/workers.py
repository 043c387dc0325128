"""Many pieces of work side by side, in this process or in several, and none of them takes the others down with it."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Self, TypeVar

from attnscope.errors import AttnscopeError, RunError, SetupError, quote

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_WAITING = 2  # pieces of work for each process that are handed over before their turn: no more lie in memory


def processors() -> int:
    """How many processors this process may use, which is less than what there is inside a container."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def attempt(work: Callable[[], Answer], name: str) -> Answer | AttnscopeError:
    """Do a piece of work; what it raises is given back, in one line that says which file it was.

    What is missing in the environment is raised: every file would fail alike.

    Raises
    ------
    SetupError
        The environment lacks something.

    Examples
    --------
    >>> attempt(lambda: 1 // 0, "film.mp4")
    RunError("expected a file that can be worked on, got ZeroDivisionError: 'integer division or modulo by zero' in \
film.mp4; leave it out, or report it with the file")
    """
    try:
        return work()
    except SetupError:
        raise
    except AttnscopeError as error:
        return error
    except Exception as error:
        # what nobody thought of: the trouble of one file is not that of the others
        return RunError(
            expected="a file that can be worked on",
            got=f"{type(error).__name__}: {quote(str(error), 120)}",
            where=f"in {name}",
            remedy="leave it out, or report it with the file",
        )


class Workers:
    """Does the same work on many items, several at a time: in this process if it is one, else in processes that stay.

    A process that dies makes an error of the item that it died of: what was under way with it is done again, each item
    in a process of its own.

    Parameters
    ----------
    processes : int
        How many at a time.
    prepare : callable
        Called once in each process that is started.
    """

    def __init__(self, processes: int, prepare: Callable[[], None] | None = None) -> None:
        self._processes, self._prepare = processes, prepare
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def run(
        self, work: Callable[[Item], Answer], items: Iterable[Item], name: Callable[[Item], str]
    ) -> Iterator[tuple[int, Answer | RunError]]:
        """Give each answer with the number of its item, as they come.

        Items are taken as they are needed, so that of many only a few are in memory.

        Raises
        ------
        Exception
            Whatever the work raises; :func:`attempt` inside of it makes rows of errors.
        """
        numbered = enumerate(items)
        if self._processes <= 1:
            for index, item in numbered:
                yield index, work(item)
            return
        is_done = False
        while not is_done:
            under_way: dict[int, Item] = {}
            try:
                yield from self._drain(work, numbered, under_way)
                is_done = True
            except BrokenProcessPool:
                self._stop()
                for index, item in sorted(under_way.items()):
                    yield index, self._work_alone(work, item, name(item))

    def _drain(
        self,
        work: Callable[[Item], Answer],
        numbered: Iterator[tuple[int, Item]],
        under_way: dict[int, Item],
    ) -> Iterator[tuple[int, Answer]]:
        """Keep the processes busy until there are no more items; ``under_way`` holds what has not been answered."""
        pool, most = self._start(self._processes), _WAITING * self._processes
        running: dict[Future[Answer], int] = {}
        while True:
            for index, item in islice(numbered, most - len(running)):
                under_way[index] = item
                running[pool.submit(work, item)] = index
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for each in done:
                answer = each.result()
                index = running.pop(each)
                del under_way[index]
                yield index, answer

    def _work_alone(self, work: Callable[[Item], Answer], item: Item, name: str) -> Answer | RunError:
        """Do a piece of work in a process of its own, which may die of it."""
        try:
            return self._start(1).submit(work, item).result()
        except BrokenProcessPool:
            return RunError(
                expected="a process that lives",
                got="one that died of this file, as it does when memory runs out",
                where=f"in {name}",
                remedy="leave it out, or work on it where there is more memory",
            )
        finally:
            self._stop()

    def _start(self, processes: int) -> ProcessPoolExecutor:
        if self._pool is None:
            # spawn, not fork: torch may already run threads here
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(processes, mp_context=context, initializer=self._prepare)
        return self._pool

    def _stop(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._pool = None
