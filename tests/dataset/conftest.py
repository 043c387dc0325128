"""Films with known cuts, and a dataset that was built of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from attnscope.dataset import render, sample_scene
from attnscope.dataset.building import Built, build_dataset
from attnscope.dataset.published.facts import collect_facts, read_facts, write_facts
from attnscope.dataset.published.manifest import write_manifest
from attnscope.dataset.published.tables import read_clips, read_sources, write_tables
from attnscope.dataset.rows import Clip, Shot, cut_shots
from attnscope.dataset.settings import Settings
from attnscope.video import write_video


class Truth(NamedTuple):
    cuts: tuple[int, ...]
    dissolve_frames: int


@pytest.fixture(scope="session")
def small() -> Settings:
    """For films of three seconds and 64 x 96 pixels; what is drawn is joined whatever it looks like."""
    return Settings(
        shortest_clip_s=2,
        longest_clip_s=7,
        fewest_shots=2,
        least_side=48,
        join_likeness=-1,
        shortest_shot_s=0.4,
    )


class Dataset(NamedTuple):
    films: Path
    truth: dict[str, Truth]
    built: Built


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Truth]]:
    """Two films of hard cuts, one that dissolves, and two files that are no films."""
    folder = tmp_path_factory.mktemp("films")
    truth = {}
    for seed, dissolve in ((0, 0), (1, 0), (2, 8)):
        scene = sample_scene(
            seed, num_shots=2, num_frames=49, dissolve_frames=dissolve, min_shot_latent_frames=5
        )
        name = f"deep/{seed}.mp4" if seed == 1 else f"{seed}.mp4"
        (folder / name).parent.mkdir(exist_ok=True)
        write_video(folder / name, render(scene, height=64, width=96), 16)
        truth[name] = Truth(scene.plan.cuts_frame, dissolve)
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("no film")
    return folder, truth


@pytest.fixture(scope="session")
def dataset(
    films: tuple[Path, dict[str, Truth]], small: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Dataset:
    folder, truth = films
    out = tmp_path_factory.mktemp("dataset")
    return Dataset(folder, truth, build_dataset(folder, out, settings=small, executor="serial"))


@pytest.fixture
def copied(dataset: Dataset, tmp_path: Path) -> Path:
    """The dataset once more, to be damaged."""
    return Path(shutil.copytree(dataset.built.out, tmp_path / "copied"))


@pytest.fixture
def make_clip() -> Callable[..., Clip]:
    """A candidate of 240 frames at 24 per second in three shots, but for what is given."""

    def make(**given: object) -> Clip:
        shots: tuple[Shot, ...] = cut_shots([(100, 180), (180, 260), (260, 340)])
        usual: dict[str, object] = {
            "clip_id": "a1",
            "source_id": "s1",
            "file": "a.mp4",
            "start_frame": 100,
            "stop_frame": 340,
            "fps": "24",
            "width": 640,
            "height": 360,
            "first_stamp": 0,
            "num_source_frames": 1000,
            "shots": shots,
            "likeness": (0.7, 0.8),
            "motion": 5.0,
            "contrast": 40.0,
            "print": "0" * 64,
        }
        return Clip(**{**usual, **given})  # type: ignore[arg-type]

    return make


@pytest.fixture
def captioned(copied: Path) -> Path:
    """The dataset with captions, one of them hostile, as if a model had said them."""
    clips = [
        msgspec.structs.replace(
            clip,
            caption=f'<script>document.title = "run"</script> & <b>{clip.file}</b>',
            shots=tuple(
                msgspec.structs.replace(shot, caption="<img src=x onerror=alert(1)> a | b")
                for shot in clip.shots
            ),
            caption_state="ok",
            captioner="a model",
        )
        for clip in read_clips(copied, decision=None)
    ]
    sources = list(read_sources(copied))
    write_tables(
        copied, ((row, [clip for clip in clips if clip.source_id == row.source_id]) for row in sources)
    )
    write_manifest(copied, read_clips(copied))
    facts = read_facts(copied)
    write_facts(copied, collect_facts(copied, facts.settings, facts.unjudged))
    return copied
