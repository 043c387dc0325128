"""`attnscope reproduce`: what is asked for, and what is refused before a model is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from attnscope.cli.reproduce import _build_study
from attnscope.reproducing.prompts import read_films

SMALL = ("--num-frames", "17", "--height", "32", "--width", "32", "--num-inference-steps", "1")


def test_a_study_of_one_film_ends_on_a_page(run: Any, tmp_path: Path) -> None:
    outcome = run("reproduce", "cinetrans", "--films", "1", "--out", tmp_path / "study", *SMALL, "--json")
    assert outcome.code == 0, outcome.err
    assert "1 films to observe and 7 to compare, 1 steps each: 8 steps in all" in outcome.err
    result = json.loads(outcome.out)
    assert result["prompts"] == "drawn, in the words of the embedded model"
    assert (tmp_path / "study" / "page.html").is_file()
    assert len(list((tmp_path / "study").rglob("*.mp4"))) == 7


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sora",), "a study out of cinetrans"),
        (("cinetrans", "--prompts", "none.json"), "in none.json"),
        (("cinetrans", "--layers", "7-40"), "layers"),
    ],
)
def test_what_cannot_be_is_one_line(run: Any, words: tuple[str, ...], message: str) -> None:
    outcome = run("reproduce", *words, "--films", "1", "--out", "study", *SMALL)
    assert outcome.code == 2
    assert message in outcome.err
    assert not Path("study").exists()


def test_an_embedded_model_is_given_what_it_can_read_and_others_the_packaged_set() -> None:
    small = _build_study("wan-mini", None, 2)
    assert (small.is_embedded, len(small.films)) == (True, 2)
    assert [len(film.captions) for film in small.films] == [2, 3]
    assert all(film.single and film.single.startswith("One shot") for film in small.films)
    real = _build_study("some/model", None, None)
    assert (real.is_packaged, real.films) == (True, read_films())
