"""What holds for every command: exit codes, one line for an error, signals, help."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from attnscope import __version__, storage
from attnscope.cli._output import finite, print_json


def test_no_command_is_the_overview(run: Any) -> None:
    outcome = run()
    assert (outcome.code, outcome.err) == (0, "")
    assert all(name in outcome.out for name in ("probe", "structure", "validate", "models", "doctor"))


def test_version(run: Any) -> None:
    assert run("--version") == (0, f"{__version__}\n", "")


def test_an_error_is_one_line_and_debug_shows_where_it_came_from(run: Any) -> None:
    short = run("structure", "nowhere")
    assert short == (
        2,
        "",
        "attnscope: error: expected an attention store, got nothing at nowhere; give the path of a store\n",
    )
    long = run("structure", "nowhere", "--debug")
    assert (long.code, long.out) == (2, "")
    assert long.err.startswith("Traceback (most recent call last)")
    assert long.err.endswith(short.err)


def test_a_refused_option_says_where_help_is(run: Any) -> None:
    outcome = run("probe", "--promt", "a cat")
    assert outcome.err == (
        "attnscope: error: Unknown option: --promt. Did you mean --prompt? See `attnscope probe --help`.\n"
    )


def raising(error: BaseException) -> Any:
    def raise_it(*_: object) -> None:
        raise error

    return raise_it


def test_ctrl_c(run: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(storage, "open_store", raising(KeyboardInterrupt()))
    outcome = run("structure", "x")
    assert (outcome.code, outcome.out) == (130, "")
    assert outcome.err.startswith("attnscope: interrupted")
    assert outcome.err.count("\n") == 1


def test_terminated(run: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(storage, "open_store", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught:
        run("structure", "x")
    assert caught.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_numbers_that_json_lacks_are_null(capsys: Any) -> None:
    values = {"a": math.nan, "b": [math.inf, 1.5], 3: (-math.inf, "x"), "c": None, "d": True}
    assert finite(values) == {"a": None, "b": [None, 1.5], "3": [None, "x"], "c": None, "d": True}
    print_json(values)
    assert json.loads(capsys.readouterr().out) == finite(values)


@pytest.mark.parametrize(("words", "code"), [(["structure", "--help"], 0), (["structure", "nowhere"], 2)])
def test_the_package_runs_as_the_command_does(run: Any, words: list[str], code: int) -> None:
    """`python -m attnscope` where the command itself is not on the path."""
    done = subprocess.run(
        [sys.executable, "-m", "attnscope", *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == run(*words)
    assert done.returncode == code
