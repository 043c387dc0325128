"""Who does the work makes no difference: here the executors that are not this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from attnscope.dataset.building import build_dataset
from attnscope.dataset.executors.choosing import choose_executor
from attnscope.errors import InputError, RunError, SetupError

TABLES = ("clips.parquet", "sources.parquet", "manifest.csv", "dataset.json")


class Rows:
    """Stands for a dataset of Ray: rows of plain values, mapped lazily, which may come in any order."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        assert all(isinstance(value, int | bytes | str) for row in rows for value in row.values())
        self._rows = rows

    def flat_map(self, work: Callable[[dict[str, Any]], list[dict[str, Any]]], *, num_cpus: int) -> Rows:
        assert num_cpus == 1
        return Rows([done for row in reversed(self._rows) for done in work(row)])

    def iter_rows(self) -> Iterator[dict[str, Any]]:
        return iter(self._rows)


@pytest.fixture
def fake_ray(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The surface of Ray that is used, and no more."""
    ray, data, exceptions = (ModuleType(name) for name in ("ray", "ray.data", "ray.exceptions"))
    exceptions.RayError = type("RayError", (Exception,), {})  # type: ignore[attr-defined]
    data.from_items = lambda rows, *, override_num_blocks: Rows(rows)  # type: ignore[attr-defined]
    ray.data, ray.exceptions = data, exceptions  # type: ignore[attr-defined]
    for module in (ray, data, exceptions):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return ray


def test_ray_gives_the_same_bytes(fake_ray: ModuleType, dataset, small, tmp_path: Path) -> None:
    build_dataset(dataset.films, tmp_path / "out", settings=small, executor="ray")
    for name in TABLES:
        assert (tmp_path / "out" / name).read_bytes() == (dataset.built.out / name).read_bytes()
    for path in sorted(dataset.built.out.glob("clips/*/*.mp4")):
        assert (tmp_path / "out" / path.relative_to(dataset.built.out)).read_bytes() == path.read_bytes()


def test_what_ray_says_is_one_line(fake_ray: ModuleType, dataset, small, tmp_path: Path) -> None:
    def fail(*_: object, **__: object) -> None:
        raise fake_ray.exceptions.RayError("a long\nstory")

    fake_ray.data.from_items = fail
    with pytest.raises(RunError, match="nothing that was done is lost"):
        build_dataset(dataset.films, tmp_path / "out", settings=small, executor="ray")


def test_without_ray_it_is_said(monkeypatch: pytest.MonkeyPatch, dataset, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SetupError, match=r"attnscope\[ray\]"):
        build_dataset(dataset.films, tmp_path / "out", executor="ray")


def test_there_are_three() -> None:
    with pytest.raises(InputError, match="serial, process, ray"):
        choose_executor("dask", 1)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")  # Ray warns itself of its own settings
def test_ray_itself_gives_the_same_bytes(
    dataset, small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # else its workers hardly run beside anything else
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR")
    try:
        build_dataset(dataset.films, tmp_path / "out", settings=small, executor="ray")
    finally:
        ray.shutdown()
    for name in TABLES:
        assert (tmp_path / "out" / name).read_bytes() == (dataset.built.out / name).read_bytes()
