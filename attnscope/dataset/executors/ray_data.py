"""Ray Data as executor: the same work on the same items, on as many machines as Ray has.

Every machine must see the folders of the films and of the dataset under the same path: answers are files there, and
what goes over the network is the name of a film and one line back. Ray streams: it holds back what its machines are
not ready for, and does a task again whose machine went away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Self

from attnscope._types import Document
from attnscope.errors import RunError, SetupError
from attnscope.workers import Answer, Item

_TRIES = 3  # of an item whose process or machine went away
_MOST_BLOCKS = 10_000


class RayData:
    """Does work with ``ray.data``; see :class:`attnscope.dataset.executors.choosing.Executor`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave Ray as it is: whoever started it may have more to do."""

    def run(
        self, work: Callable[[Item], Answer], items: Iterable[Item], name: Callable[[Item], str]
    ) -> Iterator[tuple[int, Answer | RunError]]:
        """Do a piece of work on each item.

        Raises
        ------
        SetupError
            Ray is not installed.
        RunError
            Ray gave up.
        """
        try:
            import ray
            import ray.data
        except ImportError as error:
            raise SetupError(
                expected="Ray for --executor ray",
                got="no such package",
                where="in this environment",
                remedy='install attnscope with pip install "attnscope[ray]", or use --executor process',
            ) from error

        rows = [{"index": index, "item": item} for index, item in enumerate(items)]
        if not rows:
            return

        def answer(row: Document) -> list[Document]:
            return [{"index": row["index"], "answer": work(row["item"])}]

        done = ray.data.from_items(rows, override_num_blocks=min(len(rows), _MOST_BLOCKS)).flat_map(
            answer, num_cpus=1, max_retries=_TRIES
        )
        try:
            for row in done.iter_rows():
                yield int(row["index"]), row["answer"]
        except ray.exceptions.RayError as error:
            raise RunError(
                expected="a cluster that does the work",
                got=f"{type(error).__name__}",
                where="in ray.data",
                remedy="run the same command again, nothing that was done is lost",
            ) from error
