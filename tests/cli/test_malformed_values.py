"""Every option of every command, given what it cannot take: one line, exit code 2 or 3, and nothing is written."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

SHOTS = ("--shots", "0-9f,9-17f")
SMALL = ("--height", "64", "--width", "64", "--num-inference-steps", "2")
COMMANDS: dict[str, tuple[str, ...]] = {
    "probe": ("probe", "--prompt", "a cat", "--num-frames", "17", *SMALL),
    "generate": ("generate", *SHOTS, *SMALL, "--layers", "1", "--out", "film.mp4"),
    "sweep": ("sweep", "--over", "layers", *SHOTS, *SMALL, "--layers", "all", "--out", "swept"),
    "find-layers": ("find-layers", *SHOTS, *SMALL, "--layers", "all", "--out", "found"),
    "score": ("score", "clip.mp4", "--detector", "content", "--jobs", "1", "--out", "scored"),
    "reference": ("reference", "build", "nest", "--out", "ref.json"),
    "structure": ("structure", "good.zarr"),
    "validate": ("validate", "good.zarr"),
}
WHOLE = ("", "x", "-1", "1.5", "nan", "1e3", "9" * 400, "0x10", "two", "1 2")
NUMBER = ("", "x", "nan", "inf", "1,5", "--")
RANGE = ("", "deep", "0", "3", "2-1", "1-", "-9:", "1;2", "9" * 500, "1,,2", "all,", "1-2-3")
FROM_0 = ("2", *(value for value in RANGE if value != "0"))
WORD = ("", "x", "VOTE", "a b", "a\nb")
# what is asked, of which commands, and what none of them takes
VALUES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "--seed": (("probe", "generate"), WHOLE),
    "--num-frames": (("probe",), (*WHOLE, "16", "0")),
    "--num-inference-steps": (("probe", "generate", "sweep"), (*WHOLE, "0")),
    "--height": (("probe", "generate"), (*WHOLE, "50", "0")),
    "--layers": (("probe", "generate", "sweep", "find-layers"), RANGE),
    "--heads": (("probe",), FROM_0),
    "--steps": (("probe",), FROM_0),
    "--guidance-scale": (("probe", "generate", "sweep"), NUMBER),
    "--detector": (("score",), WORD),
    "--stride": (("score",), (*WHOLE, "0")),
    "--jobs": (("score",), (*WHOLE, "0")),
    "--threshold": (("score",), (*NUMBER, "2", "-1")),
    "--shots": (
        ("generate", "sweep", "score"),
        (
            "",
            "x",
            "0-1",
            "0-1s,1-2f",
            "0-2s,1-3s",
            "1-2s",
            "0-0s",
            "0-1s,2-3s",
            "0-1.5f,1.5-17f",
            "9" * 400 + "s",
        ),
    ),
    "--rule": (
        ("generate", "sweep"),
        (
            "",
            "x",
            "same_shot |",
            "soft(same_shot, 1e999)",
            "(" * 200,
            "~" * 460 + "x",
            "halo(-1)",
            "3",
            "same_shot.x",
        ),
    ),
    "--over": (("sweep",), WORD),
    "--window": (("sweep",), (*WHOLE, "0")),
    "--keep": (("find-layers",), (*NUMBER, "0", "2")),
    "--branch": (("probe", "structure"), ("", "both,", "x", "cond,cond")),
}
PLACES = (
    "pipe",
    "socket",
    "words.txt",
    "words.txt/below",
    "n" * 300,
    "loop",
    "loop/x",
    "/dev/null",
    "/dev/null/x",
    "a\udcff/" * 2000,
)
OUTS = {
    "probe": PLACES,
    "sweep": PLACES,
    "find-layers": PLACES,
    "score": PLACES,
    "generate": (
        "pipe.mp4",
        "socket.mp4",
        "link.mp4",
        "empty",
        "n" * 300 + ".mp4",
        "words.txt/a.mp4",
        "loop/a.mp4",
        "nowhere/a.mp4",
    ),
    "reference": ("pipe", "socket", "link.mp4", "empty", "n" * 300, "words.txt/below", "loop/x", "/dev/null"),
}
INPUTS = {
    ("validate",): PLACES,
    ("structure",): PLACES,
    ("score", "--jobs", "1"): ("n" * 300, "loop", "nowhere", "pipe", "socket", "/dev/null"),
    ("score", "clip.mp4", "--manifest"): ("pipe", "empty", "n" * 300, "loop", "/dev/null", "zeros.txt"),
    ("score", "clip.mp4", "--reference"): ("pipe", "empty", "n" * 300, "loop", "/dev/null", "zeros.txt"),
    ("probe", "--prompts"): ("empty", "n" * 300, "loop", "binary.txt"),
    ("probe", "--sigmas", "0.5", "--video"): ("n" * 300, "loop", "empty"),
}


def lines() -> dict[str, tuple[str, ...]]:
    """All malformed command lines by a name."""
    found = {
        f"{command} {option} {number}": replaced(COMMANDS[command], option, value)
        for option, (commands, values) in VALUES.items()
        for command in commands
        for number, value in enumerate(values)
    }
    for command, places in OUTS.items():
        for number, place in enumerate(places):
            found[f"{command} --out {number}"] = replaced(COMMANDS[command], "--out", place)
    for words, places in INPUTS.items():
        for number, place in enumerate(places):
            found[f"{' '.join(words)} {number}"] = (*words, place)
    return found


def replaced(words: tuple[str, ...], option: str, value: str) -> tuple[str, ...]:
    """The same command line with another value for an option, or one more option."""
    if option not in words:
        return (*words, f"{option}={value}")
    place = words.index(option)
    return (*words[:place], f"{option}={value}", *words[place + 2 :])


LINES = lines()


@pytest.fixture(scope="session")
def place(broken: Path) -> Path:
    os.mkfifo(broken / "pipe")
    os.mkfifo(broken / "pipe.mp4")
    for name in ("socket", "socket.mp4"):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.path.relpath(broken / name))
    (broken / "loop").symlink_to("loop")
    (broken / "link.mp4").symlink_to("words.txt")
    return broken


@pytest.fixture(scope="session")
def before(place: Path, everything: Any) -> dict[str, bytes | None]:
    return everything(place)


def test_there_are_enough_of_them() -> None:
    assert len(LINES) >= 390  # test_malformed has 200 more, each with the words that it must say


@pytest.mark.parametrize("name", LINES)
def test_a_line_and_nothing_written(
    name: str,
    run: Any,
    place: Path,
    before: dict[str, bytes | None],
    monkeypatch: pytest.MonkeyPatch,
    everything: Any,
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr("attnscope.sweeping.films.FilmMaker.make", made)
    outcome = run(*LINES[name])
    assert outcome.code in (2, 3), (outcome.code, outcome.out[:200], outcome.err[:300])
    assert "Traceback" not in outcome.err
    if LINES[name][0] != "validate":
        assert len(outcome.err.splitlines()) == 1
        assert outcome.out == ""
    assert everything(place) == before


@pytest.fixture(autouse=True)
def _tidy(place: Path, before: dict[str, bytes | None]) -> Any:
    """What one line wrote is not held against the next."""
    yield
    for path in sorted(place.rglob("*"), reverse=True):
        if str(path) not in before:
            path.rmdir() if path.is_dir() else path.unlink()


def made(*_: Any) -> Any:
    raise AssertionError("a film was made of nonsense")
