"""Ray Data as executor: the same work on the same sources, on as many machines as Ray has.

Every machine must see the folders of the films and of the dataset under the same path: results are files there, and
what goes over the network is a job and one line back, both as JSON. Ray streams: it holds back what its machines are
not ready for, and does a task again whose machine went away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Self

import msgspec

from attnscope._types import Document
from attnscope.dataset.jobs import Done, Job
from attnscope.errors import RunError, SetupError

_MOST_BLOCKS = 10_000


class RayData:
    """Does work with ``ray.data``; see :class:`attnscope.dataset.executors.choosing.Executor`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave Ray as it is: whoever started it may have more to do."""

    def run(
        self, work: Callable[[Job], Done], items: Iterable[Job], name: Callable[[Job], str]
    ) -> Iterator[tuple[int, Done | RunError]]:
        """Do a piece of work on each job.

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

        rows = [{"index": index, "job": msgspec.json.encode(job)} for index, job in enumerate(items)]
        if not rows:
            return

        def answer(row: Document) -> list[Document]:
            done = work(msgspec.json.decode(row["job"], type=Job))
            return [{"index": row["index"], "done": msgspec.json.encode(done)}]

        blocks = min(len(rows), _MOST_BLOCKS)
        try:
            results = ray.data.from_items(rows, override_num_blocks=blocks).flat_map(answer, num_cpus=1)
            for row in results.iter_rows():
                yield int(row["index"]), msgspec.json.decode(row["done"], type=Done)
        except ray.exceptions.RayError as error:
            raise RunError(
                expected="a cluster that does the work",
                got=type(error).__name__,
                where="in ray.data",
                remedy="run the same command again, nothing that was done is lost",
            ) from error
