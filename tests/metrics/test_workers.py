"""Many pieces of work side by side: none takes the others down, few are in memory, the environment's lack is raised."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator

import pytest

from attnscope.errors import AttnscopeError, InputError, RunError, SetupError
from attnscope.metrics.scoring import workers
from attnscope.metrics.scoring.workers import Workers, attempt


def square(number: int) -> int:
    """Stands for work, and for a decoder that takes its process with it."""
    if number == 3:
        os._exit(1)
    return number * number


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that know this module, which a spawned one would not."""
    fork = multiprocessing.get_context("fork")
    monkeypatch.setattr(workers.multiprocessing, "get_context", lambda kind: fork)


@pytest.mark.usefixtures("forked")
def test_a_process_that_dies_is_the_error_of_one_item() -> None:
    with Workers(2) as crew:
        answers = dict(crew.run(square, range(8), lambda number: f"film {number}"))
    died = answers.pop(3)
    assert answers == {number: number * number for number in range(8) if number != 3}
    assert isinstance(died, RunError)
    assert "one that died of this file" in str(died)
    assert "film 3" in str(died)


@pytest.mark.usefixtures("forked")
def test_items_are_taken_as_they_are_needed() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(10, 1000):
            taken += 1
            yield number

    with Workers(2) as crew:
        answers = crew.run(square, items(), str)
        for _ in range(20):
            next(answers)
        assert taken <= 20 + 4 + 4
        answers.close()


def test_one_process_is_this_one() -> None:
    assert list(Workers(1).run(lambda _: os.getpid(), "ab", str)) == [(0, os.getpid()), (1, os.getpid())]


def test_what_a_file_raises_is_given_back_and_what_the_environment_lacks_is_raised() -> None:
    def refuse(error: type[AttnscopeError]) -> int:
        raise error(expected="a film", got="none", where="here", remedy="give one")

    assert isinstance(attempt(lambda: refuse(InputError), "film.mp4"), InputError)
    with pytest.raises(SetupError):
        attempt(lambda: refuse(SetupError), "film.mp4")
    unforeseen = attempt(lambda: [][1], "film.mp4")
    assert isinstance(unforeseen, RunError)
    assert "IndexError" in str(unforeseen)
    assert "in film.mp4" in str(unforeseen)
