"""The facts about Wan, read off the real classes."""

from __future__ import annotations

import pytest
import torch

from attnscope.errors import LayoutError
from attnscope.families import DenoiserCall, Site, Wan
from attnscope.testing.wan import tiny_wan

family = Wan()


def called_with(*shape):
    return DenoiserCall({}, torch.zeros(shape))


def test_layers_are_one_based_labels_of_self_attention_in_the_order_they_run():
    pipe = tiny_wan(3)
    sites = family.sites(pipe.transformer)
    assert [site.layer for site in sites if site.kind == "self"] == [1, 2, 3]
    assert sites[4] == Site(3, "blocks.2.attn1", "blocks", "self")
    assert sites[5] == Site(3, "blocks.2.attn2", "blocks", "cross")
    ran = []
    for site in sites:
        module = pipe.transformer.get_submodule(site.module)
        module.register_forward_hook(lambda *_, path=site.module: ran.append(path))
    pipe.transformer(torch.zeros(1, 16, 2, 4, 4), torch.tensor([1]), torch.zeros(1, 3, 32))
    assert ran == [site.module for site in sites]


def test_one_layout_segment_per_latent_frame_matches_the_tokens_of_the_model():
    pipe = tiny_wan(1)
    layout = family.layout(pipe.transformer, called_with(1, 16, 5, 8, 6), 0)
    assert layout.num_frames == 5
    assert layout.offsets == (0, 12, 24, 36, 48, 60)
    tokens = pipe.transformer.patch_embedding(torch.zeros(1, 16, 5, 8, 6)).flatten(2).shape[2]
    assert layout.num_tokens == tokens
    with pytest.raises(LayoutError, match=r"expected latents .* got shape \(5, 8\)"):
        family.layout(pipe.transformer, called_with(5, 8), 0)


def test_tokens_of_a_frame_are_those_that_frame_moves():
    # An impulse in one latent frame may move only the tokens the layout gives to that frame.
    pipe = tiny_wan(1)
    video = torch.zeros(1, 16, 3, 4, 4)
    video[:, :, 1] = 1.0
    embed = pipe.transformer.patch_embedding
    moved = (embed(video) - embed(torch.zeros_like(video))).flatten(2).abs().sum(1)[0] > 0
    layout = family.layout(pipe.transformer, called_with(*video.shape), 0)
    assert moved.tolist() == [frame == 1 for frame in layout.token_frame().tolist()]


def test_denoisers_and_stride():
    assert list(family.denoisers(tiny_wan(1))) == ["transformer"]
    assert list(family.denoisers(tiny_wan(1, two_stages=True))) == ["transformer", "transformer_2"]
    transformer = tiny_wan(1).transformer
    assert family.denoisers(transformer) == {"transformer": transformer}
    assert family.temporal_stride(tiny_wan(1)) == family.temporal_stride(transformer) == 4


def test_input_is_read_by_position_and_by_name():
    latents, timestep = torch.zeros(1, 16, 2, 4, 4), torch.tensor([3])
    transformer = tiny_wan(1).transformer
    given = [
        DenoiserCall.bind(transformer, "hidden_states", (latents, timestep), {}),
        DenoiserCall.bind(transformer, "hidden_states", (latents,), {"timestep": timestep}),
        DenoiserCall.bind(transformer, "hidden_states", (), {"hidden_states": latents, "timestep": timestep}),
    ]
    assert all(one.video is latents and one.timestep is timestep for one in given)


def test_the_same_seed_gives_the_same_tiny_model_and_leaves_the_global_one_alone():
    torch.manual_seed(11)
    expected = torch.rand(1)
    torch.manual_seed(11)
    one, other = tiny_wan(1, seed=4), tiny_wan(1, seed=4)
    assert torch.equal(torch.rand(1), expected)
    assert all(
        torch.equal(a, b)
        for a, b in zip(one.transformer.parameters(), other.transformer.parameters(), strict=True)
    )
