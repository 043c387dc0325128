"""What each family says of itself, held against the network or the pipeline it is about."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import attnscope as scope
from attnscope.errors import InputError, LayoutError, RunError, UnsupportedModelError
from attnscope.families import DenoiserCall, find
from attnscope.hooks import attach
from attnscope.testing import specimen, tiny


def kinds(name, **changes):
    """The segments of the last attention call with the prompt in a small run: kind and number of tokens."""
    pipe, seen = tiny(name), []
    with attach(pipe) as attachment:

        def note(q, point):
            if point.call.branch == "cond":
                seen.append(attachment.layout.segments)

        attachment.listen("blocks.0.attn.hook_q", note)
        pipe(**{**specimen(name).settings, **changes})
    return [(segment.kind, segment.num_tokens) for segment in seen[-1]]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cogvideox", [("text", 16), *[("frame", 4)] * 3]),
        ("cogvideox-1.5", [("text", 16), *[("frame", 4)] * 3]),
        ("easyanimate", [("text", 256), *[("frame", 4)] * 3]),
        ("hunyuan-video", [*[("frame", 4)] * 3, ("text", 9), ("padding", 7)]),
        ("hunyuan-video-1.5", [*[("frame", 16)] * 3, ("text", 9), ("padding", 10)]),
        ("mochi", [*[("frame", 2)] * 4, ("text", 9)]),
        ("ltx", [("frame", 16)] * 3),
        ("latte", [("frame", 1)] * 4),
    ],
)
def test_text_and_padding_stand_where_they_stand(name, expected):
    assert kinds(name) == expected


@pytest.mark.parametrize(
    "name", ["cogvideox", "mochi", "hunyuan-video", "allegro", "easyanimate", "skyreels"]
)
def test_tokens_of_a_frame_are_those_that_frame_moves(name):
    # A change in one latent frame reaches the queries of the first block at the tokens the layout gives to it.
    pipe, queries = tiny(name), []
    family, (denoiser, given) = find(pipe), specimen(name).denoiser_call(pipe)
    frame, axis, video = 1, family.frame_axis, given["hidden_states"]
    changed = video.clone()
    changed.select(axis, frame).add_(1.0)
    with attach(pipe) as attachment, torch.no_grad():
        attachment.listen("blocks.0.attn.hook_v", lambda v, point: queries.append((v, attachment.layout)))
        for latents in (video, changed):
            denoiser(**{**given, "hidden_states": latents})
    (before, layout), (after, _) = queries[0], queries[len(queries) // 2]
    moved = (after - before).abs().amax(dim=(0, 2, 3)) > 1e-6
    assert moved.tolist() == [of == frame for of in layout.token_frame().tolist()]


def test_a_token_frame_of_cogvideox_1_5_holds_two_latent_frames_and_the_first_is_padded_in_front():
    pipe = tiny("cogvideox-1.5")
    family, (_, given) = find(pipe), specimen("cogvideox-1.5").denoiser_call(pipe)
    assert given["hidden_states"].shape[1] == 6  # 17 frames are 5 latent frames, one more is put in front
    assert family.temporal_stride(pipe) == 8
    assert family.num_latent_frames(pipe, 17) == 3
    with pytest.raises(
        InputError, match=r"expected 8n \+ 1 frames, from 9, got 13 as num_frames of a CogVideoX"
    ):
        family.require_size(pipe, num_frames=13, height=32, width=32)


def test_the_length_of_text_is_the_one_that_positions_stand_behind():
    small = {"num_frames": 9, "height": 32, "width": 32, "num_inference_steps": 1}
    for length in (16, 24):
        pipe = tiny("cogvideox")
        config = {**pipe.transformer.config, "max_text_seq_length": length}
        pipe.transformer = type(pipe.transformer).from_config(config)
        attributes = scope.probe(pipe, "a cat", **small).attrs
        assert scope.schema.parse_attributes(attributes)["arguments"]["max_sequence_length"] == length
        with pytest.raises(
            InputError, match=f"expected {length}, the only length of text .* got 8 as max_seq"
        ):
            scope.probe(pipe, "a cat", max_sequence_length=8, **small)
    rotary = {**small, "num_frames": 17}
    scope.probe(tiny("cogvideox-1.5"), "a cat", max_sequence_length=8, **rotary)


def test_images_between_frames_of_ltx_are_refused_because_their_tokens_are_no_frames():
    pipe = tiny("ltx-condition")
    transformer, family = pipe.transformer, find(pipe)
    times = torch.tensor([[[0.0, 0.0, 1.0, 1.0]]])
    call = DenoiserCall({"video_coords": times}, torch.zeros(1, 4, 8))
    assert family.layout(transformer, call, 0).num_frames == 2
    added = DenoiserCall({"video_coords": torch.tensor([[[1.0, 0.0, 0.0, 1.0, 1.0]]])}, torch.zeros(1, 5, 8))
    with pytest.raises(LayoutError, match="got tokens of added images in front"):
        family.layout(transformer, added, 0)


def test_a_dataset_says_what_went_to_the_text_and_which_frames_were_given():
    small = {
        name: value for name, value in specimen("cogvideox-i2v").settings.items() if name != "output_type"
    }
    dataset = scope.probe(tiny("cogvideox-i2v"), small.pop("prompt"), branch="cond,uncond", **small)
    whole = dataset.mass.sum("key_frame") + dataset.text_mass
    np.testing.assert_allclose(whole, 1.0, atol=1e-6)
    assert float(dataset.text_mass.min()) > 0
    assert scope.schema.parse_attributes(dataset.attrs)["given_frames"] == [0]
    assert dataset.branch.values.tolist() == ["cond", "uncond"]


def test_frames_are_called_num_frames_in_every_model_and_a_changed_video_brings_its_own():
    small = {"height": 8, "width": 8, "num_inference_steps": 1}
    latte = scope.probe(tiny("latte"), "a cat", num_frames=4, **small)
    assert latte.sizes["query_frame"] == 4
    assert latte.query_stop_frame.values.tolist() == [1, 2, 3, 4]
    with pytest.raises(InputError, match="expected 4 frames, for which this model has positions, got 5"):
        scope.probe(tiny("latte"), "a cat", num_frames=5, **small)
    small = {name: value for name, value in specimen("wan-v2v").settings.items() if name != "output_type"}
    changed = scope.probe(tiny("wan-v2v"), small.pop("prompt"), **{**small, "strength": 0.5})
    assert changed.sizes["step"] == 1  # half of two steps
    assert changed.sizes["query_frame"] == 3


def test_a_video_made_piece_by_piece_is_refused():
    small = {name: value for name, value in specimen("skyreels-df").settings.items() if name != "output_type"}
    longer = {**small, "num_frames": 21, "base_num_frames": 9, "overlap_history": 5}
    with pytest.raises(RunError, match="expected 6 latent frames in one call, got 3 at blocks.0.attn"):
        scope.probe(tiny("skyreels-df"), longer.pop("prompt"), **longer)


def test_what_a_family_is_not_taught_is_refused_in_one_line():
    with pytest.raises(
        UnsupportedModelError, match="reads a caption for each shot, got HunyuanVideoPipeline"
    ):
        scope.encode_captions(tiny("hunyuan-video"), ["a cat"])
    frames = np.zeros((9, 32, 32, 3), np.uint8)
    with pytest.raises(UnsupportedModelError, match="looks at a video that exists, got AllegroPipeline"):
        scope.probe_video(tiny("allegro"), frames)


def test_linear_attention_is_refused_in_one_line():
    from diffusers import SanaVideoTransformer3DModel

    with torch.device("meta"):
        network = SanaVideoTransformer3DModel(num_layers=1)
    with pytest.raises(UnsupportedModelError, match="whose attention is linear, in families.find") as caught:
        attach(network)
    assert "\n" not in str(caught.value)
