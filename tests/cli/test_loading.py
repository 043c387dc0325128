"""Every command that takes a model loads it where it should run; a fake accelerator stands in for a real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file

from attnscope import models
from attnscope.models import choices, machine, preparing
from attnscope.models.choices import LoadChoice
from attnscope.models.machine import Machine
from attnscope.storage import Store

SMALL = ("--num-inference-steps", "1", "--height", "64", "--width", "64")
SHOTS = ("--shots", "0-9f,9-17f", "--prompt", "a cat")
COMMANDS = {
    "probe": ("probe", "--out", "out", *SHOTS, *SMALL),
    "probe of a drawn film": ("probe", "--out", "out", "--num-frames", "17", "--sigmas", "0.5", *SMALL[2:]),
    "generate": ("generate", "--out", "film.mp4", "--layers", "1", *SHOTS, *SMALL),
    "sweep": ("sweep", "layers", "--out", "out", "--layers", "1", "--values", "1", *SHOTS, *SMALL),
    "find-layers": ("find-layers", "--out", "out", "--layers", "1-2", *SHOTS, *SMALL),
}


@pytest.fixture
def folder(tmp_path: Path, tiny: Any, run: Any, capsys: pytest.CaptureFixture[str]) -> str:
    tiny.save_pretrained(tmp_path / "tiny")
    capsys.readouterr()
    return "tiny"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_loads_on_the_accelerator_of_its_process(
    command: str, folder: str, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    brought: list[LoadChoice] = []
    monkeypatch.setattr(machine, "find_machine", lambda: Machine("cuda", 2))
    monkeypatch.setattr(choices, "free_memory", lambda device: 2**34)
    monkeypatch.setattr(preparing, "_bring", lambda pipe, choice, networks: brought.append(choice))
    monkeypatch.setenv("LOCAL_RANK", "1")
    outcome = run(*COMMANDS[command], "--model", folder, "--offload", "model")
    assert outcome.code in (0, 2), outcome.err  # a tiny model need not cut, and then no layers are found
    assert [(choice.device, choice.dtype, choice.request.offload) for choice in brought] == [
        ("cuda:1", "fp32", "model")
    ]


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "probe of a drawn film"])
def test_every_command_says_which_video_its_memory_is_for(
    command: str, folder: str, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []

    def note(name: str, **settings: Any) -> None:
        told.append(settings.get("video"))
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "load", note)
    run(*COMMANDS[command], "--model", folder)
    assert told == [(17, 64, 64)]


def test_what_was_chosen_is_said_in_one_line_and_recorded(folder: str, run: Any) -> None:
    outcome = run(*COMMANDS["probe"], "--model", folder, "--attention-backend", "native", "--json")
    assert outcome.code == 0
    assert outcome.err == "attnscope: tiny on cpu in fp32, attention backend native\n"
    assert Store.open("out/attention.zarr").header.attrs["loading"] == {"attention_backend": "native"}


def test_texts_that_are_encoded_already_take_the_place_of_the_encoder(
    folder: str, run: Any, tiny: Any
) -> None:
    settings = {"do_classifier_free_guidance": False, "max_sequence_length": 512}  # as the pipeline has it
    embeds, _ = tiny.encode_prompt("a cat", **settings)
    save_file({"prompt_embeds": embeds.contiguous()}, "cat.safetensors")
    plain = ("probe", "--model", folder, *SHOTS, *SMALL, "--guidance-scale", "1.0")
    assert run(*plain, "--out", "read").code == 0
    assert run(*plain, "--prompt-embeds", "cat.safetensors", "--out", "given").code == 0
    read, given = (Store.open(f"{name}/attention.zarr").dataset() for name in ("read", "given"))
    np.testing.assert_allclose(read.mass, given.mass, atol=1e-6)  # a file's tensor lies elsewhere in memory
    outcome = run(*plain, "--prompt-embeds", "no.safetensors", "--out", "x")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "a safetensors file" in outcome.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--rule", "banana"), "banana"),
        (("--shots", "0-9f,8-17f"), "expected"),
        (("--preset", "vstar", "--layers", "1-99", "--model", "tiny"), "expected layers among 1-2, got 3"),
    ],
)
def test_a_mask_that_cannot_be_is_refused_before_a_model_is_loaded(
    words: tuple[str, ...], message: str, run: Any, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(models, "load", refuse)
    given = {"--shots": "0-9f,9-17f", **dict(zip(words[::2], words[1::2], strict=True))}
    outcome = run(
        "generate", "--prompt", "a cat", "--out", "x.mp4", *(each for pair in given.items() for each in pair)
    )
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert message in outcome.err


LAYERS = {
    "probe": ("probe", "--out", "out", "--num-frames", "17", "--layers", "1-31"),
    "probe of a prompt": ("probe", "--out", "out", *SHOTS, "--layers", "31", "--model", "wan-mini-nocuts"),
    "generate": ("generate", "--out", "x.mp4", *SHOTS, "--rule", "same_shot", "--layers", "1-31"),
    "captions": ("generate", "--out", "x.mp4", *SHOTS, "--shot-prompts", "two.txt", "--text-layers", "1-31"),
    "sweep": ("sweep", "heads", "--out", "out", "--layers", "1-31", *SHOTS),
    "find-layers": ("find-layers", "--out", "out", "--layers", "1-31", *SHOTS),
    "reproduce": ("reproduce", "cinetrans", "--out", "out", "--layers", "1-31"),
    "train": ("train", "lora", "--out", "out", "--drawn", "2", "--rule", "same_shot", "--layers", "1-31"),
    "train on text": ("train", "lora", "--out", "out", "--drawn", "2", "--text-layers", "1-31"),
}


@pytest.mark.parametrize("command", LAYERS)
def test_layers_are_held_against_the_configuration_of_an_embedded_model_before_its_weights_are_read(
    command: str, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr(models, "load", refuse)
    Path("two.txt").write_text("a cat\na dog\n")
    outcome = run(*LAYERS[command])
    assert (outcome.code, outcome.err.count("\n")) == (2, 1), outcome.err
    assert "layers among 1-30, got 31" in outcome.err


def test_layers_that_an_embedded_model_has_come_to_its_weights(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def note(name: str, **_: object) -> None:
        asked.append(name)
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "load", note)
    run("probe", "--out", "out", "--num-frames", "17", "--layers", "1-30")
    assert asked == ["wan-mini"]
