"""`attnscope sweep`: the keys of its JSON, one cell a value, resumption, the picture, and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from attnscope.sweeping.films import MadeFilm

BASE = (
    "--shots",
    "0-9f,9-17f",
    "--height",
    "64",
    "--width",
    "64",
    "--num-inference-steps",
    "2",
    "--layers",
    "1-2",
    "--films",
    "2",
    "--out",
    "folder",
)
KEYS = {"folder", "over", "model", "rule", "layers", "num_films", "num_seeds", "cells", "png"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No film is made: the cells with a mask are cut where that is asked for. Nothing waits for the disk."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    monkeypatch.setattr(
        "attnscope.sweeping.films.FilmMaker.make",
        lambda self, key: MadeFilm(
            () if key.variant.label == "none" else self.plans[key.film].realised_frame, b"", b""
        ),
    )


def document(run: Any, over: str, *words: str) -> dict[str, Any]:
    outcome = run("sweep", over, *BASE, *words, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    found: dict[str, Any] = json.loads(outcome.out)
    return found


@pytest.mark.parametrize(
    ("over", "words", "cells"),
    [
        ("layers", (), ["layers 1", "layers 2"]),
        ("layers", ("--window", "2"), ["layers 1-2"]),
        ("heads", ("--values", "0;0-1"), ["heads 0", "heads 0-1"]),
        ("heads", ("--by-layer", "--window", "2"), ["layers 1 heads 0-1", "layers 2 heads 0-1"]),
        ("steps", (), ["steps 0", "steps 1"]),
        ("strength", ("--values", "1;2.5"), ["strength 1", "strength 2.5"]),
        ("jitter", ("--values", "1"), ["jitter 1"]),
    ],
)
def test_one_cell_for_each_value(run: Any, over: str, words: tuple[str, ...], cells: list[str]) -> None:
    found = document(run, over, *words)
    assert set(found) == KEYS
    assert [cell["cell"] for cell in found["cells"]] == ["none", "full", *cells]
    assert all(0 <= cell["recall"] <= 1 and len(cell["recall_interval"]) == 2 for cell in found["cells"])
    assert [cell["effect"] for cell in found["cells"]] == [0] + [1] * (len(cells) + 1)
    assert [cell["precision"] for cell in found["cells"]] == [None] + [1] * (len(cells) + 1)
    assert len(list(Path("folder/films").glob("*.json"))) == 2 * len(
        {*cells, "none", "full"} - {"layers 1-2"}
    )


def test_films_are_as_long_as_those_of_the_model(run: Any) -> None:
    """Nothing says how long: an embedded model makes its own length, on its own clock, with cuts inside."""
    folder = ("--out", "folder", "--layers", "-6:", "--values", "6-11", "--films", "3")
    outcome = run("sweep", "layers", "--model", "unet-mini", *folder, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    header = json.loads(Path("folder/sweep.json").read_text())["body"]
    assert header["num_frames"] == [16, 16, 16]
    assert header["cuts_frame"] == [[4], [9], [2]]


def test_the_same_command_again_makes_nothing_and_says_the_same(run: Any) -> None:
    first = document(run, "layers", "--values", "1", "--png", "effect.png")
    made = {path: path.stat().st_mtime_ns for path in Path("folder/films").iterdir()}
    assert document(run, "layers", "--values", "1", "--png", "effect.png") == first
    assert {path: path.stat().st_mtime_ns for path in Path("folder/films").iterdir()} == made
    assert Path("effect.png").read_bytes().startswith(b"\x89PNG")


def test_people_get_a_table(run: Any) -> None:
    outcome = run("sweep", "layers", *BASE, "--values", "1")
    assert outcome.code == 0
    assert "layers 1" in outcome.out
    assert "transition control" in outcome.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("colour",), "colour"),
        (("layers", "--values", "1;;2"), "values with semicolons"),
        (("layers", "--values", "3"), "expected layers among 1-2, got 3"),
        (("layers", "--layers", "1-99"), "expected layers among 1-30, got 31"),
        (("heads", "--values", "9"), "expected heads among"),
        (("strength", "--values", "-1"), "positive number"),
        (("jitter", "--values", "0.5"), "whole number of latent frames"),
        (("layers", "--by-layer"), "heads only"),
        (("layers", "--png", "effect.jpg"), ".png file"),
        (("layers", "--png", "nowhere/effect.png"), ".png file"),
        (("layers", "--rule", "banana"), "banana"),
        (("layers", "--window", "0"), "from 1"),
        (("layers", "--films", "0"), "from 1"),
        (("layers", "--processes", "0"), "from 1"),
        (("layers", "--shots", "0-17f"), "plans with a cut"),
    ],
)
def test_what_cannot_be_is_one_line(run: Any, words: tuple[str, ...], message: str) -> None:
    pairs = zip(BASE[::2], BASE[1::2], strict=True)  # what is asked for takes the place of what is there
    outcome = run("sweep", *words, *(word for pair in pairs if pair[0] not in words for word in pair))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1
    assert message in outcome.err
    assert not Path("folder").exists()
