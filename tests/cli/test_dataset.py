"""`attnscope dataset`: what is printed, what is written, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from attnscope.dataset import render, sample_scene
from attnscope.video import write_video

CHOSEN = (
    "--set",
    "shortest_clip_s=2",
    "--set",
    "least_side=48",
    "--set",
    "join_likeness=-1",
    "--executor",
    "serial",
)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for seed in (0, 1):
        scene = sample_scene(seed, num_shots=2, num_frames=49, min_shot_latent_frames=5, world="textured")
        write_video(folder / f"{seed}.mp4", render(scene, height=64, width=96), 16)
    (folder / "broken.mp4").write_text("no film")
    return folder


@pytest.fixture
def out(run: Any, films: Path, tmp_path: Path) -> Path:
    assert run("dataset", "build", films, "--out", "out", *CHOSEN, "--json").code == 1
    return tmp_path / "out"


def test_build_says_what_it_made(run: Any, films: Path, tmp_path: Path) -> None:
    done = run("dataset", "build", films, "--out", "out", *CHOSEN, "--json")
    found = json.loads(done.out)
    assert done.code == 1, "a film could not be used"
    assert (found["sources"], found["clips"], found["failed"], found["out"]) == (3, 2, 1, "out")
    assert found["seconds"] > 0
    cost = found["cost_estimate"]
    assert (cost["num_sources"], cost["num_unreadable"], cost["num_frames"]) == (3, 1, 98)
    assert 0 < cost["core_hours_least"] < cost["core_hours_most"]
    assert done.err.startswith("3 films"), "what it costs is said before"
    assert run("dataset", "validate", "out").code == 0
    stats = json.loads(run("dataset", "stats", "out", "--json").out)
    assert (stats["num_clips"], stats["clips_by_shots"]) == (2, {"2": 2})
    assert "clips" in run("dataset", "stats", "out").out


def test_a_damaged_dataset_has_a_line_for_each_violation(run: Any, out: Path) -> None:
    clip = next((out / "clips").glob("*/*.mp4"))
    clip.write_bytes(clip.read_bytes()[:-1])
    (out / "clips" / "stray.mp4").touch()
    done = run("dataset", "validate", "out", "--json")
    found = json.loads(done.out)
    assert (done.code, found["valid"], len(found["violations"])) == (1, False, 2)
    assert "is not the file that was written" in found["violations"][0]
    assert run("dataset", "validate", ".").code == 2


def test_calibrate_says_what_to_set(run: Any, films: Path) -> None:
    found = json.loads(run("dataset", "calibrate", films, "--json").out)
    assert (found["num_joins"], found["num_strangers"], found["num_failed"]) == (2, 2, 1)
    assert "--set join_likeness=" in run("dataset", "calibrate", films).out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("build", "nowhere", "--out", "out"), "a folder of films"),
        (("build", ".", "--out", "out"), "at least one video"),
        (("build", "FILMS", "--out", "out", "--set", "nose=1"), "one of shortest_shot_s"),
        (("build", "FILMS", "--out", "out", "--set", "nose"), "a setting and its value"),
        (("build", "FILMS", "--out", "out", "--config", "none.toml"), "a TOML file"),
        (("build", "FILMS", "--out", "out", "--caption", "ftp://here/v1"), "an address as http"),
        (("stats", "nowhere"), "a dataset with its dataset.json"),
        (("validate", "nowhere"), "a dataset with its dataset.json"),
        (("calibrate", "nowhere"), "a folder of films"),
    ],
)
def test_what_cannot_be_is_one_line(run: Any, films: Path, words: tuple[str, ...], said: str) -> None:
    done = run("dataset", *(films if word == "FILMS" else word for word in words))
    assert done.code == 2
    assert said in done.err
    assert done.err.strip().splitlines()[-1].startswith("attnscope: error:")
