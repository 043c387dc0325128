"""`attnscope generate`: the keys of its JSON, what it writes, and that its words reach the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attnscope import testing
from attnscope.families import find
from attnscope.intervening import generate as generating
from attnscope.video.files import read_frames

BASE = (
    "generate",
    "--shots",
    "0-9f,9-17f",
    "--height",
    "64",
    "--width",
    "64",
    "--num-inference-steps",
    "2",
    "--prompt",
    "a red ball",
    "--out",
    "film.mp4",
)
KEYS = {
    "video",
    "cuts_requested_frame",
    "cuts_detected_frame",
    "stride",
    "recall",
    "precision",
    "transition_control",
    "preset",
    "layers",
    "visible_fraction",
}


def document(run: Any, *words: str) -> dict[str, Any]:
    outcome = run(*BASE, *words, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def test_the_keys_that_were_promised(run: Any) -> None:
    found = document(run, "--layers", "2")
    assert set(found) >= KEYS
    assert found["cuts_requested_frame"] == found["cuts_realised_frame"] == [9]
    assert (found["preset"], found["layers"]) == ("cinetrans-dit", "2")
    # 3 frames of shot 0 see 3; 2 frames of shot 1 see 2 and the first: 15 of 25
    assert found["visible_fraction"] == pytest.approx(15 / 25)
    assert read_frames(found["video"]).shape == (17, 64, 64, 3)


def test_a_cut_beside_the_latent_grid_is_reported_where_it_falls(run: Any) -> None:
    words = [*BASE[:2], "0-8f,8-17f", *BASE[3:]]
    outcome = run(*words, "--rule", "same_shot", "--json")
    found = json.loads(outcome.out)
    assert (found["cuts_requested_frame"], found["cuts_realised_frame"]) == ([8], [9])
    assert found["preset"] is None
    assert found["layers"] == "1-2"
    assert found["visible_fraction"] == pytest.approx(13 / 25)


def test_a_unet_has_the_preset_that_was_published_for_one(
    run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    testing.tiny("animatediff").save_pretrained(tmp_path / "motion")
    capsys.readouterr()
    on_unet = ("--model", "motion", "--shots", "0-3f,3-7f")
    small = [word for word in BASE if word not in BASE[1:3]]
    outcome = run(*small, *on_unet, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    found = json.loads(outcome.out)
    pipe = testing.tiny("animatediff")
    num_layers = sum(site.kind == "self" for site in find(pipe).sites(pipe.unet))
    assert (found["preset"], found["layers"]) == (
        "cinetrans-unet",
        f"{num_layers - 5}-{num_layers}",
    )
    refused = run(*small, *on_unet, "--preset", "cinetrans-dit")
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert "use preset cinetrans-unet, or name layers" in refused.err
    chosen = run(*small, *on_unet, "--preset", "cinetrans-dit", "--layers", "3-4", "--json")
    assert json.loads(chosen.out)["layers"] == "3-4"


def test_seconds_are_counted_on_the_clock_of_the_model(
    run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At 8 frames a second, each its own latent frame, two seconds are 16 frames and the cut falls on the eighth."""
    testing.tiny("lavie").save_pretrained(tmp_path / "lavie")
    capsys.readouterr()
    small = "--layers 1-4 --num-inference-steps 1 --height 32 --width 32 --out film.mp4"
    on_unet = ("--model", "lavie", "--prompt", "a cat", "--shots", "0-1s,1-2s", "--rule", "same_shot")
    outcome = run("generate", *on_unet, *small.split(), "--json")
    found = json.loads(outcome.out)
    assert (found["cuts_requested_frame"], found["cuts_realised_frame"]) == ([8], [8])
    assert read_frames(found["video"]).shape == (16, 32, 32, 3)


def test_a_film_without_a_mask(run: Any) -> None:
    found = document(run, "--preset", "none")
    assert (found["preset"], found["layers"], found["rule"], found["visible_fraction"]) == (
        "none",
        None,
        [],
        1.0,
    )


def test_a_prompt_that_lists_its_shots_is_its_own_plan(run: Any) -> None:
    prompt = "Two shots: a ball; Shot 1: [0s, 0.5s] red; Shot 2: [0.5s, 1.0625s] blue"
    outcome = run(
        "generate",
        "--prompt",
        prompt,
        "--height",
        "64",
        "--width",
        "64",
        "--num-inference-steps",
        "2",
        "--layers",
        "1",
        "--out",
        "film.mp4",
        "--json",
    )
    found = json.loads(outcome.out)
    assert (found["cuts_requested_frame"], found["cuts_realised_frame"]) == ([8], [9])
    assert found["prompt"] == prompt


def test_the_mask_changes_the_film_and_the_seed_repeats_it(run: Any) -> None:
    films = []
    for words in (("--preset", "none"), ("--rule", "same_shot"), ("--rule", "same_shot")):
        films.append(read_frames(document(run, *words)["video"]).astype(int))
    assert np.abs(films[0] - films[1]).max() > 0
    assert np.array_equal(films[1], films[2])


def test_captions_reach_the_model(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shots.txt").write_text("# two of them\na red ball\na blue dog\n")
    seen = []
    original = generating.generate

    def watched(*positional: Any, **named: Any) -> Any:
        seen.append(named)
        return original(*positional, **named)

    monkeypatch.setattr(generating, "generate", watched)
    found = document(run, "--rule", "same_shot", "--shot-prompts", "shots.txt", "--padding", "hidden")
    assert found["shot_prompts"] == ["a red ball", "a blue dog"]
    assert seen[0]["captions"] == ("a red ball", "a blue dog")
    assert (seen[0]["padding"], seen[0]["text_layers"]) == ("hidden", "all")


def test_people_read_what_was_asked_and_what_came(run: Any) -> None:
    outcome = run(*BASE, "--layers", "1")
    assert outcome.code == 0
    assert "asked     cuts at frame 9 (0.5625 s)" in outcome.out
    assert "found     cuts at frame" in outcome.out
    assert "In layers 1, all heads" in outcome.out


def test_a_video_unlike_those_of_the_training_is_said(run: Any) -> None:
    words = ("generate", "--model", "unet-mini", "--num-inference-steps", "1", "--out", "film.mp4", "--shots")
    outcome = run(*words, "0-4f,4-9f")
    assert outcome.code == 0, outcome.err
    assert outcome.err == "attnscope: unet-mini was trained on 16 frames of 64 x 64; 9 frames are new to it\n"
    assert run(*words, "0-8f,8-16f").err == ""
