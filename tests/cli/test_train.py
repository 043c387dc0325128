"""`attnscope train`: a run from its first line to weights, gone on with, and forty wrong ones in one line each."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from attnscope import models, open_store
from attnscope.dataset import render, sample_scene
from attnscope.video.files import write_video

WHOLE = tuple(f"--set={each}" for each in ("height=32", "width=32", "num_frames=17", "steps=2"))
SMALL = (*WHOLE, "--set=rank=2")
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
        *WHOLE,
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
    "records of layers that are not there": ((*DRAWN, "--set", "record_layers=7-99"), "record layers among"),
    "a preset with a slip": ((*DRAWN, "--rule", "cinetrans-ditt"), "did you mean 'cinetrans-dit'?"),
    "a name with a slip": ((*DRAWN, "--set", "rnak=4"), "did you mean 'rank'?"),
    "worlds without drawn films": (("--data", "clips", "--world", "plain"), "--drawn beside them"),
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
        (("resume", "tiny"), "one without run.toml"),
        (("resume", "nowhere"), "one without run.toml"),
        (("resume", "tiny", "--steps", "9"), "settings of a run with resume"),
        (("resume", "tiny", "--rule", "same_shot"), "train further with lora"),
        (("resume", "tiny", "--out", "b"), "settings of a run with resume"),
        (("lora", "tiny", *DRAWN), "a folder with resume only"),
        (("lora", "wan-mini", *DRAWN), "write --model wan-mini"),
        (("lora", "seed=3", *DRAWN, "--set", "rank=2"), "repeat --set, as in --set seed=3"),
        (("lora", "--dry-run"), "one of --data and --drawn, got neither"),
        (("full", *DRAWN, "--out", "out", "--set", "rank=4"), "expected rank with lora, got full"),
        (
            ("lora", *DRAWN, "--out", "out", "--model", "tiny", "--layers", "1"),
            "a rule that acts in the layers",
        ),
        (("lora", *DRAWN, "--out", "clips/one.mp4", "--model", "tiny"), "expected a folder, got a file"),
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
        (['one.mp4,"0-9f,9-17f",a film,red'], "a caption for each of 2 shots, got 1"),
        (["empty.mp4,,a film,"], "a video that can be decoded"),
    ],
)
def test_clips_none_of_which_can_be_used(rows: list[str], expected: str, folder: Path, run: Any) -> None:
    (folder / "clips" / "empty.mp4").write_bytes(b"")
    (folder / "clips" / "manifest.csv").write_text("\n".join(["file,shots,caption,captions", *rows]) + "\n")
    outcome = run("train", "lora", "--model", "tiny", "--data", "clips", "--out", "out", *SMALL)
    assert outcome.code == 2
    assert expected in outcome.err
    assert not Path("out").exists()


CONFIGS = {
    "no TOML": ("[recipe", "a TOML file"),
    "a table with a slip": ("[recipie]\nrank = 4\n", "did you mean 'recipe'?"),
    "a setting outside of a table": ("rank = 4\n", "a table out of run, recipe, data, versions, got 'rank'"),
    "a number for a table": ("recipe = 3\n", "a table [recipe], got 3"),
    "a setting with a slip": ("[recipe]\nrnak = 4\n", "did you mean 'rank'?"),
    "a setting of another table": ("[run]\nrank = 4\n", "a setting of [run] out of"),
    "a number for a model": ("[run]\nmodel = 4\n", "model as text"),
    "a function": ('[run]\nrule = "a function: interventions.json"\n', "a rule that a file can hold"),
    "films that do not parse": ('[data]\nsource = "DrawnFilms(2"\n', "films to draw"),
    "layers as a number": ("[recipe]\nrecord_layers = 7\n", 'write "7-28"'),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_what_a_configuration_may_not_say(name: str, folder: Path, run: Any) -> None:
    text, expected = CONFIGS[name]
    Path("own.toml").write_text(text)
    outcome = run("train", "lora", "--model", "tiny", *DRAWN, "--config", "own.toml", "--out", "out")
    assert outcome.code == 2, outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert expected in outcome.err
    assert not Path("out").exists()


def test_a_run_begins_like_another_by_its_file(
    folder: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Model, films, rule and recipe are those of the file, from any folder; what is given goes before."""
    words = ("train", "lora", "--model", "tiny", "--data", "clips", "--rule", "same_shot | first_frame")
    assert run(*words, "--out", "a", *SMALL).code == 0
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    outcome = run("train", "lora", "--config", "../a/run.toml", "--out", "b", "--set", "rank=1")
    assert outcome.code == 0, outcome.err
    first, second = (tomllib.loads((place / "run.toml").read_text()) for place in (folder / "a", Path("b")))
    assert second["run"] == first["run"]
    assert second["data"] == first["data"]
    assert second["recipe"] == first["recipe"] | {"rank": 1}
    again = run("train", "lora", "--config", "../a/run.toml", "--out", "c")
    assert again.code == 0, again.err
    assert (Path("c") / LORA).read_bytes() == (folder / "a" / LORA).read_bytes()
    assert run("train", "resume", "../a").code == 0


def test_a_dry_run_leaves_nothing_and_sees_another_run(folder: Path, run: Any) -> None:
    words = ("train", "lora", "--model", "tiny", "--data", "clips", *SMALL)
    outcome = run(*words, "--dry-run")
    assert outcome.code == 0, outcome.err
    assert "2 films, 2 steps" in outcome.out
    assert not (folder / "run").exists()
    assert run(*words, "--out", "a").code == 0
    before = sorted(folder.rglob("*"))
    assert run(*words, "--out", "a", "--dry-run").code == 0
    other = run(*words, "--out", "a", "--dry-run", "--set", "rank=1")
    assert other.code == 2
    assert "the run that began here, with rank 2, got 1" in other.err
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("layers", ["1", "1-2", "1,2"])
def test_layers_to_record_are_text_whatever_they_look_like(layers: str, folder: Path, run: Any) -> None:
    words = (f"--set=record_layers={layers}", "--set=record_every=2", *SMALL)
    outcome = run("train", "lora", "--model", "tiny", *DRAWN, *words, "--out", "a")
    assert outcome.code == 0, outcome.err
    assert open_store(folder / "a").sizes["layer"] == (1 if layers == "1" else 2)


def test_the_parquet_of_a_dataset_stands_for_its_folder(folder: Path, run: Any) -> None:
    (folder / "clips" / "clips.parquet").write_bytes(b"PAR1")
    words = ("train", "lora", "--model", "tiny", "--data", "clips/clips.parquet", *SMALL, "--dry-run")
    outcome = run(*words)
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("2 films")


def test_adapters_of_another_model_are_refused(folder: Path, run: Any) -> None:
    import torch

    save_file({"transformer.blocks.0.attn1.to_q.lora_A.weight": torch.zeros(2, 5)}, str(folder / LORA))
    outcome = run("train", "lora", "--model", "tiny", *DRAWN, "--out", "out", *SMALL, "--initial", ".")
    assert outcome.code == 2, outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
