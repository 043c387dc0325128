"""A probe that is killed at random moments loses nothing that it has acknowledged: the experiment, a few kills long."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from attnscope.testing.wan import tiny_wan

SCRIPT = Path(__file__).parents[1] / "experiments" / "crash_safety" / "run.py"
TINY: dict[str, Any] = {"layers": "all", "height": 64, "width": 64}

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = importlib.util.spec_from_file_location("crash_safety_run", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "OPTIONS", {**module.OPTIONS, **TINY})
    threads = torch.get_num_threads()
    yield module
    torch.set_num_threads(threads)


def test_five_kills_lose_nothing(experiment: Any, tmp_path: Path) -> None:
    found = experiment.trial(tiny_wan(num_layers=2), 5, tmp_path)
    assert found["kills"] == 5
    assert found["stores_completed"] >= 1
    assert found["committed_steps_lost"] == 0
    assert found["invalid_stores"] == 0
    assert found["stores_that_differ"] == 0
    assert found["stores_completed"] == len(list(tmp_path.glob("killed-*.zarr")))


def test_a_store_that_differs_would_be_counted(
    experiment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The experiment can fail: with chunks that never compare equal, every store differs."""
    monkeypatch.setattr(experiment, "chunks", lambda path: {"path": str(path).encode()})
    found = experiment.trial(tiny_wan(num_layers=2), 1, tmp_path)
    assert found["stores_that_differ"] == found["stores_completed"] >= 1


def test_a_child_that_fails_by_itself_is_no_kill(experiment: Any, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="failed by itself"):
        experiment.run_and_kill(object(), tmp_path / "a.zarr", 2.0)
