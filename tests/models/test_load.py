"""Embedded models come up without a network and without a word; everything else is refused by name."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import torch

from attnscope import load
from attnscope.errors import UnknownModelError, UnsupportedModelError
from attnscope.families import find
from attnscope.families.calling import fill_defaults
from attnscope.models import list_models
from attnscope.models.finding import UsualVideo, embedded_card
from attnscope.testing.wan import tiny_wan


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("an embedded model must not touch the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("name", "family", "num_layers"),
    [
        ("wan-mini", "Wan", 30),
        ("wan-mini-nocuts", "Wan", 30),
        ("unet-mini", "LaVie", 11),
        ("unet-mini-nocuts", "LaVie", 11),
    ],
)
def test_embedded_models_load_offline_and_in_silence(
    name: str, family: str, num_layers: int, capfd: pytest.CaptureFixture[str]
) -> None:
    pipe: Any = load(name)
    assert capfd.readouterr() == ("", "")
    denoiser = pipe.transformer if family == "Wan" else pipe.unet
    for part in (denoiser, pipe.vae, pipe.text_encoder):
        assert {parameter.dtype for parameter in part.parameters()} == {torch.float32}
        assert not part.training
    found = find(pipe)
    assert found.name == family
    sites = [site for site in found.sites(denoiser) if site.kind == "self"]
    assert [site.layer for site in sites] == list(range(1, num_layers + 1))
    card = embedded_card(name)
    assert card is not None
    assert card.num_layers == num_layers
    assert usual(pipe) == card.video
    tokens = pipe.tokenizer("Two shots: a red ball; Shot 1: wide shot").input_ids
    assert pipe.tokenizer.unk_token_id not in tokens


def usual(pipe: Any) -> UsualVideo:
    """What a pipeline makes when it is told nothing, as its own call says."""
    filled = fill_defaults(pipe, find(pipe), {})
    size = {name: filled[name] for name in ("num_frames", "height", "width")}
    stride = find(pipe).temporal_stride(pipe)
    return UsualVideo(**size, fps=pipe.fps, stride=stride, num_steps=filled["num_inference_steps"])


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", ["wan-mini", "unet-mini"])
def test_a_control_differs_from_its_model_in_what_denoises_alone(name: str) -> None:
    model, control = (load(each).components for each in (name, f"{name}-nocuts"))
    assert list(model) == list(control)
    for part in ("vae", "text_encoder", "transformer", "unet"):
        if getattr(model.get(part), "state_dict", None) is None:
            continue
        pairs = zip(model[part].parameters(), control[part].parameters(), strict=True)
        same = all(torch.equal(*pair) for pair in pairs)
        assert same == (part in ("vae", "text_encoder"))


def test_what_comes_with_the_package() -> None:
    cards = list_models()
    assert [card.name for card in cards] == ["unet-mini", "unet-mini-nocuts", "wan-mini", "wan-mini-nocuts"]
    assert sum(card.size_mib for card in cards) * 2**20 < 40e6
    for card in cards:
        assert card.summary
        assert card.facts == json.loads((card.path / "card.json").read_text())
        files = [path for path in card.path.rglob("*") if path.is_file()]
        assert card.size_mib == sum(path.stat().st_size for path in files) / 2**20
        assert not [path for path in files if path.suffix in (".bin", ".pt", ".pth", ".ckpt", ".pkl")]


@pytest.mark.usefixtures("offline")
def test_an_embedded_model_in_another_precision() -> None:
    pipe: Any = load("wan-mini", dtype=torch.bfloat16)
    assert pipe.transformer.dtype == pipe.vae.dtype == pipe.text_encoder.dtype == torch.bfloat16


@pytest.mark.usefixtures("offline")
def test_a_folder_in_the_diffusers_format(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    saved = tiny_wan(num_layers=2, seed=4)
    saved.save_pretrained(tmp_path / "tiny")
    capfd.readouterr()
    pipe: Any = load(tmp_path / "tiny", dtype=torch.float64)
    assert capfd.readouterr() == ("", "")
    assert type(pipe).__name__ == "WanPipeline"
    for name, weight in saved.transformer.state_dict().items():
        assert torch.equal(pipe.transformer.state_dict()[name], weight.double())


def fill(folder: Path, index: str, weights: str) -> Path:
    (folder / "transformer").mkdir(parents=True)
    (folder / "model_index.json").write_text(index)
    (folder / "transformer" / weights).write_text("")
    return folder


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wan-mni", "did you mean wan-mini?"),
        ("wan-mini-nocut", "did you mean wan-mini-nocuts?"),
        ("Sora", "expected a model \\(unet-mini, unet-mini-nocuts, wan-mini, wan-mini-nocuts\\), got 'Sora'"),
        ("", "no such model"),
        ("..", "a folder without model_index.json"),
        (__file__, "a file"),
        ("/nowhere/at/all", "no such model and no such folder"),
        ("a/b/c", "no such model and no such folder"),
        ("../weights", "no such model and no such folder"),
        ("owner/na me", "no such model and no such folder"),
    ],
)
def test_names_nobody_knows(name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownModelError, match=words):
        load(name)


@pytest.mark.usefixtures("offline")
def test_folders_that_cannot_be_looked_into(tmp_path: Path) -> None:
    wan = json.dumps({"_class_name": "WanPipeline"})
    pickled = fill(tmp_path / "pickled", wan, "diffusion_pytorch_model.bin")
    with pytest.raises(UnknownModelError, match="safetensors files, got none"):
        load(pickled)
    with pytest.raises(UnknownModelError, match="damaged"):
        load(fill(tmp_path / "damaged", "{", "diffusion_pytorch_model.safetensors"))
    other = json.dumps({"_class_name": "FluxPipeline"})
    with pytest.raises(UnsupportedModelError, match="got 'FluxPipeline'"):
        load(fill(tmp_path / "other", other, "diffusion_pytorch_model.safetensors"))
    with pytest.raises(UnsupportedModelError, match="got None"):
        load(fill(tmp_path / "list", "[]", "diffusion_pytorch_model.safetensors"))
    mute = json.dumps(
        {"_class_name": "WanPipeline", "text_encoder": [None, None], "tokenizer": ["transformers", "T5"]}
    )
    with pytest.raises(UnknownModelError, match="can read prompts, got one without text_encoder in"):
        load(fill(tmp_path / "mute", mute, "diffusion_pytorch_model.safetensors"))


@pytest.mark.usefixtures("offline")
def test_a_folder_whose_weights_do_not_fill_the_model(tmp_path: Path) -> None:
    tiny_wan(num_layers=2).save_pretrained(tmp_path)
    config = tmp_path / "transformer" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_layers": 3}))
    with pytest.raises(UnknownModelError, match="weights for all of transformer, got none for blocks.2"):
        load(tmp_path)
