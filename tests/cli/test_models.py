"""`attnscope models`: what comes with the package, and plans of what does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from attnscope.models import list_models, planning
from attnscope.testing.wan import tiny_wan


def test_every_embedded_model_is_listed(run: Any) -> None:
    outcome = run("models", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    found = json.loads(outcome.out)["models"]
    assert [model["name"] for model in found] == [card.name for card in list_models()]
    assert [model["num_layers"] for model in found] == [card.num_layers for card in list_models()]


def test_a_table_for_people(run: Any) -> None:
    outcome = run("models")
    assert (outcome.code, outcome.err) == (0, "")
    assert all(card.name in outcome.out for card in list_models())


def test_the_card_of_one_model_says_what_it_can_and_cannot(run: Any) -> None:
    outcome = run("models", "unet-mini")
    assert (outcome.code, outcome.err) == (0, "")
    for words in (
        "16 frames of 64 x 64 at 8 a second",
        "subject shape",
        "core-hours",
        "small things are lost",
    ):
        assert words in outcome.out
    outcome = run("models", "unet-mimi")
    assert outcome.code == 2
    assert "did you mean 'unet-mini'" in outcome.err


def test_the_plan_of_wan_is_that_of_the_paper(run: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(planning, "_costs", lambda *_: (None, None))
    asked = ["--plan", "wan2.1-1.3b", "--frames", "81", "--size", "832x480", "--device-memory", "24GB"]
    outcome = run("models", *asked, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    found = json.loads(outcome.out)
    assert (found["num_layers"], found["num_heads"], found["tokens"]) == (30, 12, 21 * 1560)
    assert found["store_bytes"] == 50 * 2 * 30 * 12 * 21**2 * 4
    assert found["parts"]["transformer"] == 2 * 1_418_996_800
    assert (found["denoising_bytes"], found["plain_s"]) == (None, None)
    assert found["fits"] == {"none": True, "model": True}
    assert found["needed_bytes"]["model"] < found["needed_bytes"]["none"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--plan wan", "a published model"),
        ("--plan mochi-1 --frames 20", "6n + 1 frames"),
        ("--plan wan2.1-1.3b --size 833x480", "as width of a Wan video"),
        ("--plan wan2.1-1.3b --size big", "write 832x480"),
        ("--plan wan2.1-1.3b --device-memory lots", "write 24GB"),
        ("--plan wan2.1-1.3b --dtype int3", "a type out of bf16"),
    ],
)
def test_what_cannot_be_planned_is_one_line(run: Any, words: str, message: str) -> None:
    outcome = run("models", *words.split())
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_folder_is_planned_from_its_files(tmp_path: Any, run: Any) -> None:
    tiny_wan(num_layers=2).save_pretrained(tmp_path / "tiny")
    outcome = run("models", "--plan", str(tmp_path / "tiny"), "--frames", "17", "--size", "64x64")
    assert outcome.code == 0, outcome.err
    assert "80 in 5 latent frames" in outcome.out
    assert "run attnscope doctor --measure" in outcome.out
