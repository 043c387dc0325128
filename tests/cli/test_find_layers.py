"""`attnscope find-layers`: what it finds, the keys of its JSON, resumption, and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from attnscope.sweeping import find_layers as searching
from attnscope.sweeping.films import MadeFilm

BASE = (
    "find-layers",
    "--shots",
    "0-9f,9-17f",
    "--height",
    "64",
    "--width",
    "64",
    "--num-inference-steps",
    "2",
    "--films",
    "2",
    "--out",
    "folder",
)
KEYS = {
    "folder",
    "over",
    "model",
    "rule",
    "layers",
    "keep",
    "measure",
    "num_films",
    "num_held_out",
    "num_seeds",
    "found",
    "score",
    "full_score",
    "searched_score",
    "trail",
}


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No film is made: it is cut as asked where layer 2 and head 1 are masked. Nothing waits for the disk."""
    asked: list[str] = []

    def make(self: Any, key: Any) -> MadeFilm:
        asked.append(key.variant.label)
        cuts = key.variant.layers in ("1-2", "2") and key.variant.heads in ("all", "0-1", "1")
        return MadeFilm(tuple(self.plans[key.film].realised_frame) if cuts else (), b"", b"")

    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    monkeypatch.setattr("attnscope.sweeping.films.FilmMaker.make", make)
    return asked


def document(run: Any, *words: str) -> dict[str, Any]:
    outcome = run(*BASE, *words, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    found: dict[str, Any] = json.loads(outcome.out)
    assert set(found) == KEYS
    return found


@pytest.mark.parametrize(
    ("words", "over", "found"),
    [
        ((), "layers", "2"),
        (("--measure", "recall"), "layers", "2"),
        (("--layers", "2"), "layers", "2"),
        (("--over", "heads"), "heads", "1"),
    ],
)
def test_the_one_that_cuts_is_found(run: Any, words: tuple[str, ...], over: str, found: str) -> None:
    said = document(run, *words)
    assert (said["over"], said["found"], said["score"], said["full_score"]) == (over, found, 1.0, 1.0)
    assert said["trail"][0]["score"] == 1.0
    assert {over: found, "score": 1.0} in said["trail"]
    assert (said["num_films"], said["num_held_out"], said["num_seeds"], said["keep"]) == (2, 1, 1, 0.95)


def test_the_same_command_again_makes_nothing_and_says_the_same(run: Any, made: list[str]) -> None:
    first, num_made = document(run), len(made)
    assert (
        num_made == len(first["trail"]) + 2
    )  # one film is searched on, the other sees what was found, and all layers
    assert document(run) == first
    assert len(made) == num_made


def test_a_sweep_over_the_same_films_has_made_them_already(run: Any, made: list[str]) -> None:
    document(run)
    num_made = len(made)
    same = [word for word in BASE if word != "find-layers"]
    assert run("sweep", "layers", *same, "--layers", "1-2", "--values", "2").code == 0
    assert made[num_made:] == ["none"] * 2


def test_what_is_asked_for_reaches_the_search(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def find(model: str, prompts: list[str], **options: Any) -> searching.FoundLayers:
        given.update(options, model=model, prompts=prompts)
        return searching.FoundLayers("7-8", 0.5, 1.0, 1, 0.75, (("7-28", 1.0), ("7-8", 0.75)))

    monkeypatch.setattr(searching, "find_layers", find)
    outcome = run(
        "find-layers",
        "--model",
        "m",
        "--over",
        "heads",
        "--layers",
        "7-28",
        "--keep",
        "0.5",
        "--measure",
        "recall",
        "--rule",
        "own_shot",
        "--prompt",
        "a cat",
        "--shots",
        "0-9f,9-17f",
        "--seed",
        3,
        "--seeds",
        2,
        "--processes",
        4,
        "--guidance-scale",
        2.5,
        "--out",
        "folder",
    )
    assert (outcome.code, outcome.err) == (0, "")
    assert "found heads 7-8: recall 0.75 on the films of the search" in outcome.out
    assert "on 1 other films: recall 0.50, with all 1.00" in outcome.out
    plans, tell = given.pop("shots"), given.pop("on_film")
    assert callable(tell)
    assert [plan.cuts_frame for plan in plans] == [(9,)]
    assert given == {
        "model": "m",
        "prompts": ["a cat"],
        "out": Path("folder"),
        "layers": "7-28",
        "over": "heads",
        "keep": 0.5,
        "measure": "recall",
        "held_out": None,
        "rule": "own_shot",
        "seeds": range(3, 5),
        "processes": 4,
        "guidance_scale": 2.5,
        "loading": {},
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--over", "steps"), "steps"),
        (("--keep", "0"), "keep from 0 to 1"),
        (("--held-out", "2"), "at least one of 2 prompts to search on"),
        (("--held-out", "-1"), "-1"),
        (("--keep", "nan"), "finite number"),
        (("--measure", "beauty"), "beauty"),
        (("--layers", "1-99"), "expected layers among 1-30, got 31"),
        (("--rule", "banana"), "banana"),
        (("--shots", "0-17f"), "plans with a cut"),
    ],
)
def test_what_cannot_be_is_one_line(run: Any, words: tuple[str, ...], message: str) -> None:
    pairs = zip(BASE[1::2], BASE[2::2], strict=True)  # what is asked for takes the place of what is there
    outcome = run("find-layers", *words, *(word for pair in pairs if pair[0] not in words for word in pair))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1
    assert message in outcome.err
    assert not Path("folder").exists()


def test_layers_that_do_not_cut_all_together_are_one_line(run: Any) -> None:
    outcome = run(*BASE, "--layers", "1")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1
    assert "a rule that cuts in all of layers 1" in outcome.err


def test_nothing_is_claimed_of_films_that_are_not_there(run: Any) -> None:
    assert document(run, "--held-out", "0")["score"] is None
    assert "no film was held out" in run(*BASE, "--held-out", "0").out
