"""Commands that are stopped at random moments lose nothing that they acknowledged: the experiment, a few stops long."""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).parents[1] / "experiments" / "crash_safety" / "run.py"
STOPS = (signal.SIGKILL, signal.SIGINT, signal.SIGKILL)

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def experiment() -> Iterator[Any]:
    spec = importlib.util.spec_from_file_location("crash_safety_run", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look for their module
    spec.loader.exec_module(module)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a forked child cannot use the parent's thread pool
    yield module
    torch.set_num_threads(threads)
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def works(experiment: Any) -> Iterator[dict[str, Any]]:
    with experiment.draw_films(3) as (folder, films):
        yield {work.name: work for work in experiment.list_works(folder, films)}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["probe", "sweep", "score", "generate", "reference build"])
def test_a_few_signals_lose_nothing(
    experiment: Any, works: dict[str, Any], name: str, tmp_path: Path
) -> None:
    found = experiment.trial(works[name], STOPS, tmp_path, random.Random(0))
    assert (found["kills"], found["interrupts"]) == (2, 1)
    assert found["completed"] >= 1
    assert found["parts_lost"] == found["that_differ"] == found["said_otherwise"] == 0


def test_what_was_lost_differs_or_was_said_otherwise_would_be_counted(
    experiment: Any, works: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The experiment can fail: with parts that are never the same, and another line, everything counts."""
    turns = iter(range(1000))
    monkeypatch.setattr(experiment, "results", lambda place: {"a": str(next(turns)).encode()})
    monkeypatch.setattr(experiment, "SAID", "nothing")
    vanishing = experiment.Work("score", works["score"].words, lambda place: {str(next(turns)): b""})
    found = experiment.trial(vanishing, (signal.SIGINT,), tmp_path, random.Random(0))
    assert found["that_differ"] == found["completed"] >= 1
    assert found["parts_lost"] == found["parts_acknowledged"] >= 1
    assert found["said_otherwise"] == 1


def test_a_child_that_fails_by_itself_is_no_stop(experiment: Any, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="failed by itself"):
        experiment.run(("structure", "nowhere.zarr"), tmp_path / "a", signal.SIGKILL, 20.0)
