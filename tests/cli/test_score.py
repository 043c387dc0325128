"""`attnscope score` and `attnscope reference`: one document, tables, a page; a broken file is a line, not the end."""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attnscope.dataset import render, sample_scene
from attnscope.video.files import write_video

WRITTEN = {"score.json", "videos.csv", "videos.parquet", "methods.csv", "contact_sheet.html", "rows"}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Path:
    """Two films of two shots (cut at 9) and a file that is none, with a manifest."""
    place = tmp_path_factory.mktemp("films")
    shutil.copy(clip, place / "a & b.mp4")
    write_video(place / "other.mp4", render(sample_scene(5, num_shots=1, num_frames=17)), 16)
    (place / "broken.mp4").write_text("not a video")
    (place / "manifest.csv").write_text(
        'file,method,group,shots,marked_cut_frames\na & b.mp4,first,main,"0-9f,9-17f",9\n'
        'other.mp4,second,main,"0-9f,9-17f",\nbroken.mp4,second,,,\n'
    )
    return place


def test_a_manifest_gives_videos_and_methods(run: Any, films: Path, tmp_path: Path) -> None:
    words = ("score", films, "--manifest", films / "manifest.csv", "--jobs", "1", "--out", "out", "--json")
    outcome = run(*words)
    document = json.loads(outcome.out)
    assert (outcome.code, outcome.err) == (1, "")
    assert [each["file"] for each in document["failed"]] == ["broken.mp4"]
    first, second, third = document["videos"]
    assert (first["cuts_detected_frame"], first["transition_control"]) == ([9], 1)
    assert first["probabilities_at_requested"][0] > 0.3
    assert first["agreement_marked"]["f1"] == 1
    assert (second["cuts_detected_frame"], second["transition_control"]) == ([], 0)
    assert (third["status"], "probabilities" in first) == ("failed", False)
    assert [(each["method"], each["num_videos"], each["num_failed"]) for each in document["methods"]] == [
        ("first", 1, 0),
        ("second", 1, 1),
    ]
    assert [each["method"] for each in document["groups"]["main"]] == ["first", "second"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == WRITTEN
    whole = json.loads((tmp_path / "out" / "score.json").read_text())
    assert len(whole["videos"][0]["probabilities"]) == 17
    page = (tmp_path / "out" / "contact_sheet.html").read_text()
    assert page.count("<section>") == 3
    assert page.count("data:image/jpeg") == 24
    assert "a &amp; b.mp4" in page
    assert html.escape(third["error"]) in page
    assert not re.search(r"<script|https?://", page), "nothing to run and nothing to load"
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "rows").glob("*")}
    again = run(*words)
    assert json.loads(again.out)["videos"] == document["videos"]
    assert len(kept) == 2, "what failed is tried again"
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_files_and_shots_give_tables_for_people(run: Any, clip: Path, tmp_path: Path) -> None:
    outcome = run("score", clip, "--shots", "0-9f,9-17f", "--detector", "content", "--jobs", "1")
    assert outcome.code == 0
    assert "Means over videos" in outcome.out
    assert re.search(r"film.mp4.* 9 .* 1 ", outcome.out)
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("score-")
    assert {path.name for path in folder.iterdir()} == WRITTEN


@pytest.mark.slow
def test_a_reference_of_films_measures_a_gap(run: Any, tmp_path: Path) -> None:
    place = tmp_path / "films"
    place.mkdir()
    rng = np.random.default_rng(0)
    for index in range(20):
        # two flat shots a film, each film with its own pair of colours: quick, and the cut is plain
        colours = rng.integers(0, 256, (2, 1, 1, 1, 3), dtype=np.uint8)
        frames = np.concatenate([np.broadcast_to(each, (8, 32, 32, 3)) for each in colours])
        write_video(place / f"{index:02}.mp4", frames, 16)
    built = run(
        "reference", "build", place, "--detector", "content", "--out", "r.json", "--jobs", "1", "--json"
    )
    document = json.loads(built.out)
    assert built.code == 0
    assert document["num_videos"] == 20
    scored = run("score", place, "--detector", "content", "--reference", "r.json", "--jobs", "1", "--json")
    (line,) = json.loads(scored.out)["methods"]
    gap = line["gap"]["inter_visual"]
    if document["num_values"]["inter_visual"] >= 20:
        assert (gap["distance"], gap["reason"]) == (0, None)
        assert gap["null_mean"] > 0
    else:
        assert "at least 20 videos" in gap["reason"]


@pytest.mark.parametrize(
    ("names", "code", "words"),
    [("eyes", 2, "got 'eyes' as encoder"), ("viclip", 3, "got nothing to load: viclip needs code")],
)
def test_an_encoder_that_is_not_there_is_refused(
    run: Any, clip: Path, tmp_path: Path, names: str, code: int, words: str
) -> None:
    outcome = run("score", clip, "--encoders", names)
    assert outcome.code == code
    assert words in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_reference_of_nothing_is_refused(run: Any, films: Path) -> None:
    outcome = run("reference", "build", films / "nowhere")
    assert (outcome.code, "expected a folder of films" in outcome.err) == (2, True)


def test_names_are_not_read_as_markup_and_what_is_left_out_is_counted(
    run: Any, clip: Path, tmp_path: Path
) -> None:
    place = tmp_path / "films"
    (place / "[").mkdir(parents=True)
    for name in ("[red].mp4", "[/final].mp4", "\U0001f3ac\U0001f3ac.mp4", "caf\udce9.mp4"):
        shutil.copy(clip, place / name)
    (place / "notes.txt").write_text("no film")
    words = ("score", place, "--detector", "content", "--jobs", "1", "--out", "out")
    shown = run(*words)
    assert shown.code == 0
    assert all(
        name in shown.out for name in ("[red].mp4", "[/final].mp4", "\U0001f3ac\U0001f3ac", "caf\\xe9.mp4")
    )
    assert "left out  1 files that are no videos by their ending: 1 .txt" in shown.out
    assert json.loads(run(*words, "--json").out)["left_out"] == {".txt": 1}
