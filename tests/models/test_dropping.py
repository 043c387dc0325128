"""A text encoder that is dropped: its memory is free while anything is denoised, and nothing else changes."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import attnscope as scope
from attnscope import load
from attnscope.errors import InputError
from attnscope.families.dropping import find_dropped
from attnscope.models import choice_of, preparing
from attnscope.testing import tiny
from attnscope.testing.wan import tiny_wan

SMALL: dict[str, Any] = {"num_frames": 9, "height": 32, "width": 32, "num_inference_steps": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny"
    tiny_wan(num_layers=2).save_pretrained(path)
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The encoders that were read from disk, as long as somebody holds them."""
    from transformers import UMT5EncoderModel

    found: list[Any] = []
    original = UMT5EncoderModel.from_pretrained

    def read(*args: Any, **kwargs: Any) -> Any:
        encoder = original(*args, **kwargs)
        found.append(weakref.ref(encoder))
        return encoder

    monkeypatch.setattr(UMT5EncoderModel, "from_pretrained", read)
    return found


def test_it_is_gone_when_the_first_step_begins_and_the_video_is_the_same(
    folder: Path, reads: list[Any]
) -> None:
    plain: Any = load(folder)
    kept = plain(
        prompt="a cat", generator=torch.Generator().manual_seed(1), output_type="latent", **SMALL
    ).frames
    del plain
    reads.clear()
    pipe: Any = load(folder, drop_text_encoder=True)
    assert pipe.text_encoder is None
    assert reads == []  # it is not read before it is needed
    there: list[bool] = []
    pipe.transformer.register_forward_pre_hook(
        lambda module, args: there.append(any(each() is not None for each in reads))
    )
    video = pipe(
        prompt="a cat", generator=torch.Generator().manual_seed(1), output_type="latent", **SMALL
    ).frames
    assert torch.equal(video, kept)
    assert there == [False] * 4  # two steps, two branches
    assert len(reads) == 1


def test_it_is_read_once_for_all_prompts_of_a_probe(folder: Path, reads: list[Any]) -> None:
    asked: dict[str, Any] = {"layers": 1, "progress": False, **SMALL}
    prompts = ["a cat", "a red ball", "a cat"]
    kept = scope.probe(load(folder), prompts, **asked)
    reads.clear()
    pipe = load(folder, drop_text_encoder=True)
    dropped = scope.probe(pipe, prompts, **asked)
    np.testing.assert_array_equal(dropped.mass, kept.mass)
    assert len(reads) == 1
    assert not find_dropped(pipe).is_there  # type: ignore[union-attr]
    scope.probe(pipe, "a blue dog", **asked)
    assert len(reads) == 2


def test_captions_of_shots_are_read_before_it_goes(folder: Path) -> None:
    plan = scope.ShotPlan.from_frames([5], num_frames=9, fps=16)
    films = [
        scope.generate(
            load(folder, drop_text_encoder=each),
            "two shots",
            shots=plan,
            captions=["a cat", "a red ball"],
            progress=False,
            **{key: value for key, value in SMALL.items() if key != "num_frames"},
        ).frames
        for each in (False, True)
    ]
    np.testing.assert_array_equal(*films)


def test_it_is_said_in_the_one_line_and_in_the_record(folder: Path) -> None:
    pipe = load(folder, drop_text_encoder=True)
    choice = choice_of(pipe)
    assert choice is not None
    assert choice.describe() == "on cpu in fp32, drop text encoder on"
    attention = scope.probe(pipe, "a cat", layers=1, progress=False, **SMALL)
    assert scope.schema.parse_attributes(attention.attrs)["loading"] == {"drop_text_encoder": "on"}


def test_embedded_models_drop_theirs(reads: list[Any]) -> None:
    pipe: Any = load("wan-mini", drop_text_encoder=True)
    assert pipe.text_encoder is None
    pipe("One shot: a red ball", num_frames=5, num_inference_steps=1, output_type="latent")
    assert len(reads) == 1
    assert reads[0]() is None


def test_a_model_that_reads_no_text_is_refused(tmp_path: Path) -> None:
    tiny("svd").save_pretrained(tmp_path / "svd")
    with pytest.raises(InputError, match="expected a model with a text encoder to drop, got none"):
        load(tmp_path / "svd", drop_text_encoder=True)


def test_several_encoders_are_all_dropped(tmp_path: Path) -> None:
    tiny("hunyuan-video").save_pretrained(tmp_path / "hunyuan")
    pipe: Any = load(tmp_path / "hunyuan", drop_text_encoder=True)
    settings = {"prompt_template": {"template": "{}", "crop_start": 0}, "max_sequence_length": 16}
    pipe("a cat", output_type="latent", **settings, **SMALL)
    assert pipe.text_encoder is None
    assert pipe.text_encoder_2 is None


def test_what_is_encoded_is_remembered_but_not_without_end(
    folder: Path, reads: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from attnscope.families import dropping

    monkeypatch.setattr(dropping, "_REMEMBERED", 1)
    pipe: Any = load(folder, drop_text_encoder=True)
    found = find_dropped(pipe)
    assert found is not None
    for text in ("a cat", "a cat", "a dog", "a cat"):
        pipe.encode_prompt(text, do_classifier_free_guidance=False)
        found.drop()
    assert len(reads) == 3


def test_readers_are_those_of_the_index(folder: Path) -> None:
    readers = preparing.find_readers(
        str(folder), torch.float32, preparing.LoadRequest(drop_text_encoder=True)
    )
    assert list(readers) == ["text_encoder"]
    assert type(readers["text_encoder"]()).__name__ == "UMT5EncoderModel"
