"""The command line in this process, on a tiny model with random weights, pictures left out unless asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from attnscope import models
from attnscope.cli import _report, main
from attnscope.dataset import render, sample_scene
from attnscope.testing.wan import tiny_wan
from attnscope.video.files import write_video


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture(scope="session")
def tiny() -> Any:
    return tiny_wan(num_layers=2)


@pytest.fixture
def run(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run one command in an empty working directory; embedded names give the tiny model."""
    load = models.load

    def load_tiny(name: str, **options: Any) -> Any:
        return tiny if name == "wan-mini" else load(name, **options)

    monkeypatch.setattr(models, "load", load_tiny)
    monkeypatch.setattr(_report, "draw_figures", lambda *_, **__: [])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def command(*words: object) -> Outcome:
        code = main([str(word) for word in words])
        return Outcome(code, *capsys.readouterr())

    return command


@pytest.fixture(scope="session")
def film() -> np.ndarray:
    """17 frames with one cut at frame 9."""
    return render(sample_scene(20, num_shots=2, num_frames=17))


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory, film: np.ndarray) -> Path:
    """The film as a file, 17 frames at 16 fps."""
    return write_video(tmp_path_factory.mktemp("film") / "film.mp4", film, 16)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, tiny: Any, film: np.ndarray) -> Path:
    """A finished store of two noise levels."""
    from attnscope import ShotPlan, probe_video

    path = tmp_path_factory.mktemp("store") / "attention.zarr"
    plan = ShotPlan.from_frames([9], num_frames=17, fps=16)
    probe_video(tiny, film, shots=plan, sigmas=[0.5, 0.25], out=path)
    return path
