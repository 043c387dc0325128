"""Which part of the prompts this process runs, where several processes fill one store."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attnscope.errors import InputError, quote


@dataclass(frozen=True)
class Share:
    """Every ``count``-th prompt, beginning with number ``index``: one process's part of the work.

    >>> Share(1, 3).of(range(8))
    (1, 4, 7)
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise InputError(
                expected="a share (index, count) with 0 <= index < count",
                got=f"({self.index}, {self.count})",
                where="as share",
                remedy="count from 0, as torchrun counts ranks",
            )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Share:
        """Read RANK and WORLD_SIZE, as torchrun and `attnscope submit` set them; without them, everything.

        >>> Share.from_environment({"RANK": "1", "WORLD_SIZE": "2"}), Share.from_environment({})
        (Share(index=1, count=2), Share(index=0, count=1))
        """
        given = os.environ if environment is None else environment
        rank, size = given.get("RANK", "0"), given.get("WORLD_SIZE", "1")
        if not (rank.isascii() and rank.isdigit() and size.isascii() and size.isdigit()):
            raise InputError(
                expected="whole numbers",
                got=f"RANK={quote(rank)} and WORLD_SIZE={quote(size)}",
                where="in the environment",
                remedy="start the processes with torchrun, or leave both unset",
            )
        return cls(int(rank), int(size))

    def of(self, prompts: Sequence[int]) -> tuple[int, ...]:
        """Return this process's part."""
        return tuple(prompts[self.index :: self.count])


WHOLE = Share()
"""All prompts in one process."""
