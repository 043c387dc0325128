"""The command line as people at a shell expect it: -o everywhere, quiet, colour, completion."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from attnscope import __version__
from attnscope.cli import _COMMANDS, _GROUPS, app, main
from attnscope.cli._output import announce, note, quiet
from attnscope.probing.progress import is_quiet
from attnscope.video.files import read_frames

WITH_OUT = (
    "probe",
    "generate",
    "sweep",
    "find-layers",
    "train",
    "figure",
    "report",
    "reproduce",
    "score",
    "reference",
)
STILL_WORDS = {
    "sweep": ["layers"],
    "reproduce": ["cinetrans"],
    "find-layers": [],
    "train": ["lora"],
    "reference": ["build", "films"],
}


@pytest.mark.parametrize("command", WITH_OUT)
def test_o_is_out_in_every_command_that_writes(command: str) -> None:
    words = [command, *STILL_WORDS.get(command, ["store"] if command in ("report", "score") else [])]
    if command == "generate":
        words += ["--shots", "0-1s,1-2s"]
    for option in ("-o", "--out"):
        _, bound, _ = app.parse_args([*words, option, "place.mp4"], exit_on_error=False, print_error=False)
        assert str(bound.arguments["out"]) == "place.mp4"


def test_no_command_that_writes_is_missing_here() -> None:
    having = {
        name
        for name in _COMMANDS
        if name not in _GROUPS
        and any("--out" in argument.names for argument in app[name].assemble_argument_collection())
    }
    assert having == set(WITH_OUT)


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert [name for name in _COMMANDS if name not in script] == []


def test_bash_can_read_the_completion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["completion", "bash"])
    script = tmp_path / "completion.bash"
    script.write_text(capsys.readouterr().out)
    ask = f'source {script}; COMP_WORDS=(attnscope fig); COMP_CWORD=1; _attnscope; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["figure"]


def test_quiet_leaves_stderr_to_errors(capsys: pytest.CaptureFixture[str]) -> None:
    with quiet(True):
        assert is_quiet()
        note("loaded")
        warnings.warn("old", stacklevel=1)  # would be an error here, were it not kept away
    assert not is_quiet()
    note("loaded")
    assert capsys.readouterr().err == "attnscope: loaded\n"
    assert main(["--quiet", "models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"]
    assert main(["models", "--quiet", "--jason"]) == 2
    assert "error: Unknown option" in capsys.readouterr().err


def on_a_terminal(*words: str, **environment: str) -> str:
    """What a command writes when it believes that a person watches."""
    leader, follower = pty.openpty()
    program = [sys.executable, "-m", "attnscope", *words]
    with subprocess.Popen(
        program, stdout=follower, stderr=follower, env={**os.environ, "TERM": "xterm-256color", **environment}
    ) as process:
        os.close(follower)
        written = b""
        while True:
            try:
                part = os.read(leader, 4096)
            except OSError:  # the other end is closed: it has said everything
                break
            if not part:
                break
            written += part
        assert process.wait() == 0
    os.close(leader)
    return written.decode()


def test_what_takes_a_while_is_announced_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    announce("loading wan-mini")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    announce("loading wan-mini")
    assert capsys.readouterr().err == "attnscope: loading wan-mini ...\n"
    with quiet(True):
        announce("loading wan-mini")
    assert capsys.readouterr().err == ""


def test_no_color_is_respected() -> None:
    coloured = [f"\x1b[{number}" for number in range(30, 50)]
    written = on_a_terminal("models", NO_COLOR="1")
    assert "wan-mini" in written
    assert not any(each in written for each in coloured)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["prob"], 'Did you mean "probe"?'),
        (["probe", "--layer", "7"], "Did you mean --layers?"),
        (["figure", "mapps", "store", "-o", "x.pdf"], "did you mean 'maps'?"),
        (
            ["generate", "--shots", "0-1s,1-2s", "--preset", "cinetrans-dti", "-o", "x.mp4"],
            "did you mean 'cinetrans-dit'?",
        ),
        (
            ["generate", "--shots", "0-1s,1-2s", "--model", "wan-mimi", "-o", "x.mp4"],
            "did you mean wan-mini?",
        ),
    ],
)
def test_what_was_probably_meant_is_said(
    words: list[str],
    meant: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert meant in capsys.readouterr().err


def test_the_overview_explains_what_holds_for_all(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    page = capsys.readouterr().out
    assert [word for word in ("--json", "--quiet", "--debug", "NO_COLOR") if word not in page] == []


@pytest.mark.slow
def test_films_leave_pictures_beside_their_numbers(run: Any, tmp_path: Path) -> None:
    small = ("--num-inference-steps", "1", "--height", "64", "--width", "64")
    asked = ("--shots", "0-9f,9-17f", "--prompt", "a ball")
    made = run("generate", *asked, *small, "--rule", "same_shot", "-o", "clip.mp4", "--json")
    assert made.code == 0, made.err
    with Image.open(json.loads(made.out)["strip"]) as strip:
        assert strip.height == 64
    watched = run("probe", *asked, "--num-frames", "17", *small, "-o", "p", "--json")
    (film,) = json.loads(watched.out)["films"]
    assert Path(film["video"]).is_file()
    with Image.open(film["strip"]) as strip:
        assert strip.height == 64
    swept = run(
        *("sweep", "layers", "--films", "1", "--shots", "0-9f,9-17f", "--values", "1", "--layers", "1-2"),
        *(*small, "-o", "s", "--json"),
    )
    assert swept.code == 0, swept.err
    assert [len(list(Path("s/films").glob(f"*.{ending}"))) for ending in ("json", "png", "mp4")] == [3, 3, 3]
    (film, *_) = sorted(Path("s/films").glob("*.mp4"))
    assert read_frames(film).shape == (17, 64, 64, 3)
