"""`attnscope train`: a run from its first line to weights, gone on with, and forty wrong ones in one line each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from attnscope import models
from attnscope.dataset import render, sample_scene
from attnscope.video.files import write_video

SMALL = tuple(f"--set={each}" for each in ("height=32", "width=32", "num_frames=17", "rank=2", "steps=2"))
DRAWN = ("--drawn", "2", "--drawn-shots", "2")
LORA = "pytorch_lora_weights.safetensors"


@pytest.fixture
def folder(tmp_path: Path, tiny: Any, run: Any, capsys: pytest.CaptureFixture[str]) -> Path:
    """The working folder, with a tiny model and two clips in it."""
    tiny.save_pretrained(tmp_path / "tiny")
    capsys.readouterr()
    scene = sample_scene(20, num_shots=2, num_frames=17)
    cut = scene.plan.cuts_frame[0]
    (tmp_path / "clips").mkdir()
    for name in ("one", "two"):
        write_video(tmp_path / "clips" / f"{name}.mp4", render(scene, height=48, width=64), 16)
    rows = [f'{name}.mp4,"0-{cut}f,{cut}-17f",a film,red | blue' for name in ("one", "two")]
    (tmp_path / "clips" / "manifest.csv").write_text("\n".join(["file,shots,caption,captions", *rows]) + "\n")
    return tmp_path


def test_a_run_from_clips_to_weights_and_on(folder: Path, run: Any) -> None:
    outcome = run(
        "train",
        "lora",
        "--model",
        "tiny",
        "--data",
        "clips",
        "--rule",
        "same_shot",
        "--out",
        "a",
        *SMALL,
        "--json",
    )
    assert outcome.code == 0, outcome.err
    told = json.loads(outcome.out)
    assert (told["films"], told["steps"], told["left_out"]) == (2, 2, [])
    assert Path(told["weights"]).name == LORA
    first = load_file(told["weights"])
    again = run("train", "resume", "a", "--json")
    assert again.code == 0, again.err
    assert {name: value.tolist() for name, value in load_file(told["weights"]).items()} == {
        name: value.tolist() for name, value in first.items()
    }


def test_drawn_films_cost_what_is_said_and_nothing_is_written(folder: Path, run: Any) -> None:
    outcome = run(
        "train",
        "full",
        "--model",
        "tiny",
        *DRAWN,
        "--out",
        "a",
        *SMALL,
        "--dry-run",
        "--json",
        "--cache",
        "kept",
    )
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["estimate"]["num_trained"] > 0
    assert not Path("a").exists()


LINES = {
    "no films": ((), "one of --data and --drawn"),
    "two kinds of films": (("--data", "clips", *DRAWN), "one of --data and --drawn"),
    "no such folder": (("--data", "nowhere"), "a folder with a manifest.csv"),
    "a folder without a manifest": (("--data", "tiny"), "a folder with a manifest.csv"),
    "no drawn film": (("--drawn", "0"), "drawn"),
    "minus one drawn film": (("--drawn", "-1"), "drawn"),
    "no shots": (("--drawn", "2", "--drawn-shots", ""), "numbers of shots from 1 to 8"),
    "nine shots": (("--drawn", "2", "--drawn-shots", "9"), "numbers of shots from 1 to 8"),
    "half a shot": (("--drawn", "2", "--drawn-shots", "1.5"), "numbers of shots from 1 to 8"),
    "no such world": ((*DRAWN, "--world", "flat"), "world"),
    "no such rule": ((*DRAWN, "--rule", "same_shots"), "same_shots"),
    "a rule in pieces": ((*DRAWN, "--rule", "same_shot |"), "rule"),
    "no such file of rules": ((*DRAWN, "--rule", "absent.json"), "a file of interventions"),
    "no such layers": ((*DRAWN, "--rule", "same_shot", "--layers", "7-28"), "layers among"),
    "layers in words": ((*DRAWN, "--rule", "same_shot", "--layers", "late"), "layers"),
    "no such text layers": ((*DRAWN, "--text-layers", "99"), "layers among"),
    "no adapters": ((*DRAWN, "--initial", "absent"), "absent"),
    "rank 0": ((*DRAWN, "--set", "rank=0"), "a whole number from 1"),
    "rank in words": ((*DRAWN, "--set", "rank=high"), "a whole number from 1"),
    "a rank of a half": ((*DRAWN, "--set", "rank=0.5"), "a whole number from 1"),
    "a name without a number": ((*DRAWN, "--set", "rank"), "name=value"),
    "no such number": ((*DRAWN, "--set", "ranks=4"), "a setting out of"),
    "unknown targets": ((*DRAWN, "--set", "targets=nowhere"), "nowhere"),
    "no targets": ((*DRAWN, "--set", "targets="), "names out of"),
    "no rate": ((*DRAWN, "--set", "learning_rate=0"), "a number above 0"),
    "an infinite rate": ((*DRAWN, "--set", "learning_rate=inf"), "a number above 0"),
    "a rate that is none": ((*DRAWN, "--set", "learning_rate=nan"), "a number above 0"),
    "an average of 1": ((*DRAWN, "--set", "ema=1"), "below 1"),
    "half a batch": ((*DRAWN, "--set", "batch_size=0.5"), "a whole number from 1"),
    "no such schedule": ((*DRAWN, "--set", "schedule=sine"), "cosine"),
    "no such weighting": ((*DRAWN, "--set", "weighting=equal"), "min-snr"),
    "no such precision": ((*DRAWN, "--set", "precision=int8"), "bfloat16"),
    "checkpointing perhaps": ((*DRAWN, "--set", "checkpointing=perhaps"), "true or false"),
    "more text dropped than there is": ((*DRAWN, "--set", "caption_dropout=2"), "a share from 0 to 1"),
    "no steps": ((*DRAWN, "--set", "steps=0"), "steps"),
    "no such denoiser": ((*DRAWN, "--set", "denoiser=vae2"), "vae2"),
    "pixels that do not divide": ((*DRAWN, "--set", "height=30"), "30"),
    "no such configuration": ((*DRAWN, "--config", "absent.toml"), "a TOML file"),
    "eight bits without their package": ((*DRAWN, "--set", "optimiser=adamw8bit"), "bitsandbytes"),
    "a method in the recipe": ((*DRAWN, "--set", "method=half"), "method lora"),
}


@pytest.mark.parametrize("name", LINES)
def test_what_cannot_be_trained_is_refused_in_one_line(name: str, folder: Path, run: Any) -> None:
    words, expected = LINES[name]
    before = sorted(path.relative_to(folder) for path in folder.rglob("*"))
    outcome = run(
        "train", "lora", "--model", "tiny", "--out", "out", *SMALL, "--cache", folder.parent / "kept", *words
    )
    assert outcome.code == (3 if "bitsandbytes" in expected else 2), outcome.err
    lines = outcome.err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("attnscope: error: "), lines
    assert expected in lines[0]
    assert sorted(path.relative_to(folder) for path in folder.rglob("*")) == before


@pytest.mark.parametrize(
    "name",
    ["no such folder", "no such rule", "a rule in pieces", "no such file of rules", "rank 0", "no steps"],
)
def test_no_model_is_loaded_for_it(
    name: str, folder: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("the model was loaded first")

    monkeypatch.setattr(models, "load", loaded)
    assert run("train", "lora", "--model", "tiny", "--out", "out", *SMALL, *LINES[name][0]).code == 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("resume",), "the folder of a run"),
        (("resume", "tiny"), "a TOML file"),
        (("lora", "tiny", *DRAWN), "a folder with resume only"),
        (("lora", *DRAWN), "a folder for the run"),
        (("half", *DRAWN, "--out", "out"), "half"),
    ],
)
def test_jobs_that_make_no_sense(words: tuple[str, ...], expected: str, folder: Path, run: Any) -> None:
    outcome = run("train", *words)
    assert outcome.code == 2
    assert expected in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["absent.mp4,,a film,"], "which is not there"),
        (["one.mp4,,,"], "expected a caption"),
        (['one.mp4,"0-9f,9-17f",a film,red | blue | green'], "a caption for each of 2 shots"),
        (["empty.mp4,,a film,"], "a video that can be decoded"),
    ],
)
def test_clips_none_of_which_can_be_used(rows: list[str], expected: str, folder: Path, run: Any) -> None:
    (folder / "clips" / "empty.mp4").write_bytes(b"")
    (folder / "clips" / "manifest.csv").write_text("\n".join(["file,shots,caption,captions", *rows]) + "\n")
    outcome = run("train", "lora", "--model", "tiny", "--data", "clips", "--out", "out", *SMALL)
    assert outcome.code == 2
    assert expected in outcome.err
    assert not Path("out").exists() or not any(Path("out").glob("*.safetensors"))


def test_adapters_of_another_model_are_refused(folder: Path, run: Any) -> None:
    import torch

    save_file({"transformer.blocks.0.attn1.to_q.lora_A.weight": torch.zeros(2, 5)}, str(folder / LORA))
    outcome = run("train", "lora", "--model", "tiny", *DRAWN, "--out", "out", *SMALL, "--initial", ".")
    assert outcome.code == 2, outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
