"""The command line in this process, on a tiny model with random weights, pictures left out unless asked for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
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


def everything(place: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(place.rglob("*"))}


@pytest.fixture(scope="session", name="everything")
def everything_fixture() -> Callable[[Path], dict[str, bytes | None]]:
    """What a folder holds, to see whether a command has touched it."""
    return everything


@pytest.fixture(scope="session")
def broken(tmp_path_factory: pytest.TempPathFactory, clip: Path, store: Path) -> Path:
    """A folder with everything that the rows above name."""
    place = tmp_path_factory.mktemp("broken")
    for name in (
        "empty",
        "nest/empty",
        "pickled/transformer",
        "damaged",
        "other/unet",
        "occupied/attention.zarr",
    ):
        (place / name).mkdir(parents=True)
    texts = {
        "words.txt": "a cat\n",
        "nest/words.txt": "a cat\n",
        "occupied/attention.zarr/mine.txt": "not yours\n",
        "text.mp4": "not a video\n" * 50,
        "empty.mp4": "",
        "comments.txt": "# nothing\n\n",
        "list.csv": "file\nnowhere.mp4\n",
        "lengths.txt": "Shot 1: [0s, 1s] a\nShot 1: [0s, 2s] b\n",
        "pickled/model_index.json": json.dumps({"_class_name": "WanPipeline"}),
        "pickled/transformer/diffusion_pytorch_model.bin": "pickle",
        "damaged/model_index.json": "{",
        "other/model_index.json": json.dumps({"_class_name": "StableDiffusionPipeline"}),
        "other/unet/diffusion_pytorch_model.safetensors": "",
    }
    for name, content in texts.items():
        (place / name).write_text(content)
    (place / "binary.txt").write_bytes(bytes(range(128, 256)))
    (place / "zeros.txt").write_bytes(b"a\0b\n")
    _make_videos(place, clip)
    _make_stores(place, store)
    return place


def _make_videos(place: Path, clip: Path) -> None:
    shutil.copy(clip, place / "clip.mp4")
    content = clip.read_bytes()
    (place / "truncated.mp4").write_bytes(content[: len(content) // 2])
    write_video(place / "one.mp4", np.zeros((1, 64, 64, 3), np.uint8), 8)
    with av.open(str(place / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.time_base = 16000, Fraction(1, 16000)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _make_stores(place: Path, store: Path) -> None:
    for name in ("good.zarr", "newer.zarr", "corrupt.zarr", "held/attention.zarr"):
        shutil.copytree(store, place / name)
    root = json.loads((place / "newer.zarr" / "zarr.json").read_text())
    root["attributes"]["attnscope_schema"] = 99
    (place / "newer.zarr" / "zarr.json").write_text(json.dumps(root))
    (place / "corrupt.zarr" / "zarr.json").write_text('{"attributes": ')
    (place / "other.zarr").mkdir()
    other = {"zarr_format": 3, "node_type": "group", "attributes": {"title": "temperatures"}}
    (place / "other.zarr" / "zarr.json").write_text(json.dumps(other))
