"""The command line is a promise: these commands and options, no fewer and, without a line here, no more."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

LOADING = {
    "--model",
    "--device",
    "--dtype",
    "--offload",
    "--quantize",
    "--lora",
    "--revision",
    "--variant",
    "--vae-tiling",
    "--attention-backend",
    "--compile",
    "--drop-text-encoder",
}
SAMPLING = {
    "--num-inference-steps",
    "--height",
    "--width",
    "--guidance-scale",
    "--negative-prompt",
    "--prompt-embeds",
}
OPTIONS = {
    "probe": {
        *LOADING,
        *SAMPLING,
        "--prompt",
        "--prompts",
        "--video",
        "--captions",
        "--shots",
        "--layers",
        "--heads",
        "--steps",
        "--branch",
        "--seed",
        "--out",
        "--sigmas",
        "--crop",
        "--num-frames",
        "--json",
    },
    "generate": {
        *LOADING,
        *SAMPLING,
        "--shots",
        "--preset",
        "--rule",
        "--layers",
        "--first-frame",
        "--prompt",
        "--shot-prompts",
        "--text-layers",
        "--padding",
        "--decode-shots",
        "--seed",
        "--out",
        "--json",
    },
    "sweep": {
        *LOADING,
        *SAMPLING,
        "--out",
        "--values",
        "--window",
        "--by-layer",
        "--rule",
        "--layers",
        "--prompt",
        "--shots",
        "--films",
        "--seed",
        "--seeds",
        "--processes",
        "--png",
        "--json",
    },
    "find-layers": {
        *LOADING,
        *SAMPLING,
        "--out",
        "--over",
        "--layers",
        "--keep",
        "--held-out",
        "--measure",
        "--rule",
        "--prompt",
        "--shots",
        "--films",
        "--seed",
        "--seeds",
        "--processes",
        "--json",
    },
    "train": {
        "--model",
        "--data",
        "--drawn",
        "--drawn-shots",
        "--world",
        "--rule",
        "--layers",
        "--text-layers",
        "--initial",
        "--cache",
        "--config",
        "--set",
        "--steps",
        "--seed",
        "--out",
        "--dry-run",
        "--tensorboard",
        "--json",
    },
    "dataset": set(),
    "dataset build": {
        "--out",
        "--caption",
        "--caption-model",
        "--executor",
        "--jobs",
        "--config",
        "--set",
        "--json",
    },
    "dataset calibrate": {"--config", "--set", "--json"},
    "dataset export": {"--form", "--out", "--json"},
    "dataset inspect": {"--films", "--clips", "--dropped", "--out", "--json"},
    "dataset stats": {"--json"},
    "dataset validate": {"--decode", "--json"},
    "structure": {"--branch", "--json"},
    "figure": {
        "--out",
        "--all",
        "--list",
        "--venue",
        "--layers",
        "--steps",
        "--prompt",
        "--branch",
        "--compare",
        "--film",
        "--title",
        "--json",
    },
    "report": {"--out", "--compare", "--video", "--json"},
    "families": {"--check", "--markdown", "--json"},
    "submit": {
        "--jobs",
        "--cluster",
        "--partition",
        "--hours",
        "--gpus",
        "--cpus",
        "--memory-gb",
        "--logs",
        "--json",
    },
    "validate": {"--json"},
    "score": {
        "--anywhere",
        "--manifest",
        "--shots",
        "--detector",
        "--encoders",
        "--threshold",
        "--tolerance",
        "--stride",
        "--reference",
        "--jobs",
        "--out",
        "--json",
    },
    "reference": {"--out", "--detector", "--jobs", "--json"},
    "reproduce": {
        *LOADING,
        *SAMPLING,
        *("--out", "--prompts", "--quick", "--films", "--layers", "--num-frames", "--json"),
    },
    "models": {
        *("--plan", "--frames", "--size", "--num-inference-steps", "--dtype"),
        *("--device", "--device-memory", "--json"),
    },
    "completion": set(),
    "doctor": {"--measure", "--device", "--json"},
}
EVERYWHERE = {"--help", "--version", "--debug", "--quiet"}


def help_page(*words: str) -> str:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from attnscope.cli import main; sys.exit(main())",
            *words,
            "--help",
        ],
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def options(page: str) -> set[str]:
    """The options that a help page lists; that a switch can be negated is no option of its own."""
    found = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", page))
    return {name for name in found if not (name.startswith("--no-") and f"--{name[5:]}" in found)}


def commands(page: str) -> dict[str, str]:
    """The commands that the overview lists, with what it says of each."""
    listed = page.split("Commands", 1)[1]
    lines = re.findall(r"^[ │|]*([a-z][a-z-]+)(?: {2,}(.*?))?[ │|]*$", listed, re.M)
    return dict(lines)


def test_the_commands_are_these() -> None:
    assert set(commands(help_page())) == {name for name in OPTIONS if " " not in name}


def test_the_commands_of_a_group_are_these() -> None:
    assert {f"dataset {name}" for name in commands(help_page("dataset"))} == {
        name for name in OPTIONS if name.startswith("dataset ")
    }


def test_the_overview_says_what_each_command_does() -> None:
    assert [name for name, sentence in commands(help_page()).items() if not sentence.endswith(".")] == []


@pytest.mark.parametrize("command", sorted(OPTIONS))
def test_the_options_are_these(command: str) -> None:
    assert options(help_page(*command.split())) - EVERYWHERE == OPTIONS[command]


@pytest.mark.parametrize("command", sorted(OPTIONS))
def test_every_help_page_begins_with_a_sentence(command: str) -> None:
    sentence = [line for line in help_page(*command.split()).splitlines() if line.strip()][1]
    assert re.match(r"\W*[A-Z].*\.", sentence), sentence


def test_a_new_option_is_seen() -> None:
    assert options("--layers  TEXT\n--json --no-json\n--surprise  flag") == {
        "--layers",
        "--json",
        "--surprise",
    }


def test_a_new_command_is_seen() -> None:
    page = "Usage: x\n╭─ Commands ─╮\n│ probe   Look.  │\n│ surprise       │\n│ --version  Say it. │\n╰────╯"
    assert commands(page) == {"probe": "Look.", "surprise": ""}
