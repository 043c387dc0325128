"""`attnscope probe --video`: cuts that nobody gave are found, several videos fill one store, captions from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attnscope.dataset import render, sample_scene
from attnscope.storage import Store
from attnscope.video.files import write_video

FAST = ("--sigmas", "0.5", "--layers", "1")


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Two films of 17 and 21 frames, each with one cut."""
    folder = tmp_path / "films"
    folder.mkdir()
    for name, num_frames in (("a", 17), ("b", 21)):
        scene = sample_scene(ord(name), num_shots=2, num_frames=num_frames)
        write_video(folder / f"{name}.mp4", render(scene), 16)
    return folder


def test_cuts_that_nobody_gave_are_found_and_the_detector_is_named(run: Any, clip: Path) -> None:
    outcome = run("probe", "--video", clip, *FAST, "--out", "out", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    found = json.loads(outcome.out)
    assert found["cuts_detector"] == "transnetv2"
    assert found["cuts_realised_frame"] == [9]
    told = run("probe", "--video", clip, *FAST, "--out", "out")
    assert "found     cuts that nobody gave, by transnetv2" in told.out


def test_cuts_that_were_given_are_not_looked_for(run: Any, clip: Path) -> None:
    outcome = run("probe", "--video", clip, *FAST, "--shots", "0-5f,5-17f", "--out", "out", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    found = json.loads(outcome.out)
    assert "cuts_detector" not in found
    assert found["cuts_realised_frame"] == [5]


def test_a_folder_fills_one_store_cut_to_the_shortest_with_a_caption_each(
    run: Any, films: Path, tmp_path: Path
) -> None:
    (tmp_path / "captions.txt").write_text("# of the films\na red ball\na blue dog\n")
    outcome = run("probe", "--video", films, "--captions", "captions.txt", *FAST, "--out", "out")
    assert outcome.code == 0
    dataset = Store.open("out/attention.zarr").dataset()
    assert dataset.text.values.tolist() == ["a red ball", "a blue dog"]
    assert dataset.sizes["query_frame"] == 5
    np.testing.assert_allclose(dataset.mass.sum("key_frame"), 1, atol=1e-5)


def test_a_manifest_says_shots_and_captions(run: Any, films: Path) -> None:
    (films / "list.csv").write_text(
        'file,shots,caption\na.mp4,"0-5f,5-17f",a cat\nb.mp4,"0-9f,9-21f",a dog\n'
    )
    outcome = run("probe", "--video", films / "list.csv", *FAST, "--out", "out", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    assert json.loads(outcome.out)["cuts_realised_frame"] == [[5], [9]]
    assert Store.open("out/attention.zarr").header.prompts == ("a cat", "a dog")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--video", "films", "--captions", "one.txt"), "one caption for each of 2 videos, got 1"),
        (("--captions", "one.txt"), "--captions with --video only"),
        (("--video", "nowhere"), "which is no file, as --video"),
        (("--video", "one.txt"), "in one.txt"),
        (("--video", "empty"), "at least one video"),
        (("--video", "mixed"), "videos of one rate"),
    ],
)
def test_what_cannot_be_is_one_line(
    words: tuple[str, ...], message: str, run: Any, films: Path, tmp_path: Path
) -> None:
    (tmp_path / "one.txt").write_text("a cat\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "mixed").mkdir()
    frames = render(sample_scene(3, num_shots=2, num_frames=17))
    for name, fps in (("a", 16), ("b", 8)):
        write_video(tmp_path / "mixed" / f"{name}.mp4", frames, fps)
    outcome = run("probe", *words, *(FAST if "--video" in words else ()), "--out", "out")
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert message in outcome.err
    assert not (tmp_path / "out").exists()
