"""Texts that are encoded already, in every family, each by its own names: what is measured is what the prompt gives."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import attnscope as scope
from attnscope.errors import InputError
from attnscope.families import find
from attnscope.testing import specimen, tiny

MASKED = (
    "prompt_embeds",
    "prompt_attention_mask",
    "negative_prompt_embeds",
    "negative_prompt_attention_mask",
)
PLAIN = ("prompt_embeds", "negative_prompt_embeds")
# what encode_prompt of each pipeline returns, by the names of its __call__
ENCODED = {
    "wan": PLAIN,
    "skyreels": PLAIN,
    "cogvideox": PLAIN,
    "cogvideox-1.5": PLAIN,
    "hunyuan-video": ("prompt_embeds", "pooled_prompt_embeds", "prompt_attention_mask"),
    "hunyuan-video-1.5": ("prompt_embeds", "prompt_embeds_mask", "prompt_embeds_2", "prompt_embeds_mask_2"),
    "ltx": MASKED,
    "ltx-2": MASKED,
    "mochi": MASKED,
    "allegro": MASKED,
    "easyanimate": (
        "prompt_embeds",
        "negative_prompt_embeds",
        "prompt_attention_mask",
        "negative_prompt_attention_mask",
    ),
    "latte": PLAIN,
    "animatediff": PLAIN,
    "modelscope": PLAIN,
}
READ = ("max_sequence_length", "prompt_template", "mask_feature", "clean_caption")
SHOWN = sorted(set(ENCODED) - {"ltx-2", "allegro"})  # these are not taught to look at a video
COMPANIONS = ["hunyuan-video", "hunyuan-video-1.5", "ltx", "mochi", "easyanimate"]


def settings(name: str) -> dict[str, Any]:
    given = specimen(name).settings
    return {key: value for key, value in given.items() if key not in ("prompt", "output_type")}


def encoded(name: str, pipe: Any, prompt: str = "a red ball", length: int | None = None) -> dict[str, Any]:
    """What the pipeline itself makes of a prompt, at the length that its small run is told."""
    takes = pipe.encode_prompt.__code__.co_varnames[: pipe.encode_prompt.__code__.co_argcount]
    given = settings(name)
    asked = {
        **{key: given.get(key) for key in ("prompt_template", "mask_feature", "max_sequence_length")},
        "prompt": prompt,
        "negative_prompt": given.get("negative_prompt", ""),
        "device": torch.device("cpu"),
        "num_images_per_prompt": 1,
        "do_classifier_free_guidance": True,
        "clean_caption": False,
    }
    if length is not None:
        asked["max_sequence_length"] = length
    if (only := find(pipe).fixed_text_length(pipe)) is not None:
        asked["max_sequence_length"] = only
    known = {key: value for key, value in asked.items() if key in takes and value is not None}
    return dict(zip(ENCODED[name], pipe.encode_prompt(**known), strict=True))


def told(name: str, texts: dict[str, Any]) -> dict[str, Any]:
    """The settings with which the pipeline makes of a prompt what it encoded by itself."""
    given = settings(name)
    if "max_sequence_length" in inspect.signature(type(tiny(name)).__call__).parameters:
        given["max_sequence_length"] = texts["prompt_embeds"].shape[1]
    return given


def require_same(given: xr.Dataset, wanted: xr.Dataset) -> None:
    for name in wanted.data_vars:
        np.testing.assert_allclose(given[name], wanted[name], atol=1e-5)


@pytest.mark.parametrize("name", ENCODED)
def test_a_run_of_embeddings_is_the_run_of_their_prompt(name: str) -> None:
    pipe = tiny(name)
    texts = encoded(name, pipe)
    asked = {key: value for key, value in settings(name).items() if f"{key}_embeds" not in texts}
    given = scope.probe(pipe, "a label", **texts, **asked)
    assert given.text.values.tolist() == ["a label"]
    require_same(given, scope.probe(pipe, "a red ball", **told(name, texts)))


def shown(name: str) -> np.ndarray:
    given = settings(name)
    count = given.get("num_frames", given.get("video_length"))
    size = (count, given["height"], given["width"], 3)
    return np.random.default_rng(3).integers(0, 256, size, np.uint8)


@pytest.mark.parametrize("name", SHOWN)
def test_a_video_is_looked_at_under_embeddings_as_under_their_prompt(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe, video = tiny(name), shown(name)
    texts = encoded(
        name, pipe, length=226 if name == "wan" else None
    )  # what Wan's encode_prompt reads by itself
    family, asked = find(pipe), told(name, texts)
    if hasattr(family, "preparing"):
        length = {key: asked[key] for key in READ if key in asked}
        monkeypatch.setattr(type(family), "preparing", {**family.preparing, **length})
    given = scope.probe_video(pipe, video, prompt="a label", sigmas=[0.5], **texts)
    assert given.text.values.tolist() == ["a label"]
    attributes = scope.schema.parse_attributes(given.attrs)
    assert attributes["arguments"]["prompt_embeds"].startswith("<Tensor ")
    require_same(given, scope.probe_video(pipe, video, prompt="a red ball", sigmas=[0.5]))
    other = scope.probe_video(pipe, video, prompt="a label", sigmas=[0.5], **encoded(name, pipe, "rain"))
    assert float(abs(other.mass - given.mass).max()) > 0  # these embeddings are what is read


@pytest.mark.parametrize("name", ["wan", "cogvideox", "ltx", "animatediff"])
@pytest.mark.parametrize(
    "change",
    [lambda embeds: embeds.repeat(2, 1, 1), lambda embeds: embeds[0], lambda embeds: "a cat"],
    ids=["two prompts", "no batch", "a text"],
)
def test_embeddings_of_another_form_are_refused_before_anything_runs(name: str, change: Any) -> None:
    pipe = tiny(name)
    texts = encoded(name, pipe)
    texts["prompt_embeds"] = change(texts["prompt_embeds"])
    for look in (
        lambda: scope.probe(pipe, "x", **texts, **settings(name)),
        lambda: scope.probe_video(pipe, shown(name), **texts),
    ):
        with pytest.raises(InputError) as caught:
            look()
        assert "\n" not in str(caught.value)


def test_the_length_that_cogvideox_reads_is_said() -> None:
    pipe = tiny("cogvideox")
    texts = encoded("cogvideox", pipe)
    length = texts["prompt_embeds"].shape[1]
    for name in texts:
        short = {**texts, name: texts[name][:, :-1]}
        words = (
            rf"embeddings of one prompt, \(1, {length}, width\), got shape \(1, {length - 1}, 32\) as {name}"
        )
        with pytest.raises(InputError, match=words):
            scope.probe(pipe, "x", **short, **settings("cogvideox"))
        with pytest.raises(InputError, match=words):
            scope.probe_video(pipe, shown("cogvideox"), **short)


@pytest.mark.parametrize("name", COMPANIONS)
def test_embeddings_without_what_belongs_to_them_are_refused_in_one_line(name: str) -> None:
    pipe = tiny(name)
    alone = {"prompt_embeds": encoded(name, pipe)["prompt_embeds"]}
    with pytest.raises(InputError) as caught:
        scope.probe(pipe, "x", **alone, **settings(name))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError) as caught:
        scope.probe_video(pipe, shown(name), **alone)
    assert "\n" not in str(caught.value)


def test_what_is_no_encoded_text_is_refused() -> None:
    pipe, video = tiny("wan"), shown("wan")
    texts = encoded("wan", pipe)
    with pytest.raises(InputError, match="prompt_embeds and what belongs to them, .* got guidance_scale"):
        scope.probe_video(pipe, video, guidance_scale=2.0)
    with pytest.raises(InputError, match="got negative_prompt_embeds in probe_video"):
        scope.probe_video(pipe, video, negative_prompt_embeds=texts["negative_prompt_embeds"])
    with pytest.raises(InputError, match="one prompt, the label of its embeddings, got 2 prompts"):
        scope.probe_video(pipe, [video, video], prompt=["a", "b"], **texts)


def test_several_videos_are_looked_at_under_the_same_embeddings() -> None:
    pipe, video = tiny("wan"), shown("wan")
    texts = encoded("wan", pipe)
    both = scope.probe_video(pipe, [video, 255 - video], prompt="a label", sigmas=[0.5], **texts)
    alone = scope.probe_video(pipe, video, prompt="a label", sigmas=[0.5], **texts)
    assert both.text.values.tolist() == ["a label", "a label"]
    np.testing.assert_array_equal(both.mass[0], alone.mass[0])


def test_films_of_a_sweep_are_made_from_embeddings(tmp_path: Any) -> None:
    pipe = tiny("wan")
    texts = encoded("wan", pipe)
    plan = scope.ShotPlan.from_frames([9], num_frames=17, fps=16)
    asked = {key: value for key, value in settings("wan").items() if key != "num_frames"}
    common = {"shots": plan, "layers": "all", "values": ["1"]}
    given = scope.sweep(pipe, "layers", "a label", out=tmp_path / "given", **common, **asked, **texts)
    long = {**asked, "max_sequence_length": texts["prompt_embeds"].shape[1]}
    made = scope.sweep(pipe, "layers", "a red ball", out=tmp_path / "told", **common, **long)
    assert given.text.values.tolist() == ["a label"]
    for name in ("recall", "num_detected"):
        np.testing.assert_array_equal(given[name], made[name])
    with pytest.raises(InputError, match="one prompt, the label of its embeddings"):
        scope.sweep(pipe, "layers", ["a", "b"], out=tmp_path / "no", **common, **asked, **texts)
    assert not (tmp_path / "no").exists()
