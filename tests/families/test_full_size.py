"""The real architectures, on the meta device: sites, layers, heads, tokens and sizes of stores, without a weight.

Configurations as published beside the weights (`transformer/config.json` of the repositories named); what a
configuration does not say is the default of the diffusers class, which was written for that model.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

import diffusers
import pytest
import torch

from attnscope.families import find
from attnscope.hooks import attach
from attnscope.storage import StoreHeader

BYTES = 4  # a float32


class Real(NamedTuple):
    network: str
    config: dict[str, Any]
    size: tuple[int, int, int]  # frames, height, width of the published examples
    layers: int
    heads: int
    latent_frames: int
    tokens: int
    whole_run_mb: float  # all layers, 50 steps, both branches


REAL = {
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": Real(
        "WanTransformer3DModel",
        {"num_attention_heads": 12, "attention_head_dim": 128, "num_layers": 30, "ffn_dim": 8960},
        size=(81, 480, 832),
        layers=30,
        heads=12,
        latent_frames=21,
        tokens=21 * 30 * 52,
        whole_run_mb=63.5,
    ),
    "Wan-AI/Wan2.1-T2V-14B-Diffusers": Real(
        "WanTransformer3DModel",
        {"num_attention_heads": 40, "attention_head_dim": 128, "num_layers": 40, "ffn_dim": 13824},
        size=(81, 720, 1280),
        layers=40,
        heads=40,
        latent_frames=21,
        tokens=21 * 45 * 80,
        whole_run_mb=282.2,
    ),
    "THUDM/CogVideoX-5b": Real(
        "CogVideoXTransformer3DModel",
        {"num_attention_heads": 48, "num_layers": 42, "use_rotary_positional_embeddings": True},
        size=(49, 480, 720),
        layers=42,
        heads=48,
        latent_frames=13,
        tokens=226 + 13 * 30 * 45,
        whole_run_mb=136.3,
    ),
    "hunyuanvideo-community/HunyuanVideo": Real(
        "HunyuanVideoTransformer3DModel", {}, (129, 720, 1280), 60, 24, 33, 33 * 45 * 80 + 256, 627.3
    ),
    "Lightricks/LTX-Video": Real(
        "LTXVideoTransformer3DModel", {}, (161, 480, 704), 28, 32, 21, 21 * 15 * 22, 158.1
    ),
    "genmo/mochi-1-preview": Real(
        "MochiTransformer3DModel", {}, (163, 480, 848), 48, 24, 28, 28 * 30 * 53 + 256, 361.3
    ),
}


@pytest.fixture(params=REAL, scope="module")
def real(request):
    known = REAL[request.param]
    with torch.device("meta"):
        network = getattr(diffusers, known.network)(**known.config)
    return known, network


def test_layers_heads_and_names_are_those_of_the_published_model(real):
    known, network = real
    family = find(network)
    sites = [site for site in family.sites(network) if site.kind == "self"]
    assert [site.layer for site in sites] == list(range(1, known.layers + 1))
    assert {network.get_submodule(site.module).heads for site in sites} == {known.heads}
    with attach(network) as attachment:
        assert sorted(attachment.taps) == [site.layer for site in sites]
        assert f"blocks.{known.layers - 1}.attn.hook_frame_mass" in attachment.points
        assert f"blocks.{known.layers}.attn.hook_frame_mass" not in attachment.points


def test_tokens_are_those_of_the_published_video_size(real):
    known, network = real
    family = find(network)
    frames, height, width = known.size
    assert family.num_latent_frames(network, frames) == known.latent_frames
    family.require_size(network, num_frames=frames, height=height, width=width)
    layout = family.expected_layout(network, num_frames=known.latent_frames, height=height, width=width)
    assert (layout.num_frames, layout.num_tokens) == (known.latent_frames, known.tokens)


def test_the_network_itself_makes_as_many_tokens(real, monkeypatch):
    known, network = real
    video, given = inputs(known, network)
    site = find(network).sites(network)[0]
    attention = network.get_submodule(site.module)
    seen = []

    class Enough(Exception):
        pass

    def note(module, args, kwargs):
        named = {**dict(zip(("hidden_states", "encoder_hidden_states"), args, strict=False)), **kwargs}
        joint = find(network).expected_layout(network, num_frames=1, height=height, width=width).text_segments
        text = named["encoder_hidden_states"].shape[1] if joint else 0
        seen.append(named["hidden_states"].shape[1] + text)
        raise Enough

    _, height, width = known.size
    if known.network.startswith("Mochi"):
        # Its rotary positions ask for autocast, which the meta device lacks; they say nothing of how many tokens.
        monkeypatch.setattr(network.rope, "forward", lambda *args, **kwargs: None)
    remove = attention.register_forward_pre_hook(note, with_kwargs=True).remove
    with pytest.raises(Enough), torch.device("meta"):
        network(video, **given)
    remove()
    assert seen == [known.tokens]


def inputs(known: Real, network: Any) -> tuple[torch.Tensor, dict[str, Any]]:
    """What the pipeline would call the network with, of the right shapes and without a value."""
    _, height, width = known.size
    latent, config = known.latent_frames, network.config
    given: dict[str, Any] = {"timestep": torch.zeros(1, dtype=torch.long, device="meta")}
    text = {"WanTransformer3DModel": (512, 4096), "CogVideoXTransformer3DModel": (226, 4096)}
    length, channels = text.get(known.network, (256, 4096))
    given["encoder_hidden_states"] = torch.zeros(1, length, channels, device="meta")
    grid = (latent, height // 8, width // 8)
    shape: tuple[int, ...] = (1, config.in_channels, *grid)
    if known.network.startswith(("LTX", "Mochi", "Hunyuan")):
        given["encoder_attention_mask"] = torch.ones(1, length, device="meta")
    if known.network.startswith("Hunyuan"):
        given["pooled_projections"] = torch.zeros(1, config.pooled_projection_dim, device="meta")
        given["guidance"] = torch.zeros(1, device="meta")
    if known.network.startswith("CogVideoX"):
        shape = (1, latent, config.in_channels, *grid[1:])
    if known.network.startswith("LTX"):
        sides = (latent, height // 32, width // 32)
        shape = (1, sides[0] * sides[1] * sides[2], config.in_channels)
        given |= dict(zip(("num_frames", "height", "width"), sides, strict=True))
    return torch.zeros(shape, device="meta"), given


def test_a_store_of_a_whole_run_has_the_size_that_the_numbers_say(real):
    known, network = real
    sites = [site for site in find(network).sites(network) if site.kind == "self"]
    header = StoreHeader(
        prompts=("a dog",),
        seeds=(0,),
        num_steps=50,
        branches=("cond", "uncond"),
        layers=tuple(site.layer for site in sites),
        modules=tuple(site.module for site in sites),
        stages=tuple(site.stage for site in sites),
        heads=tuple(range(known.heads)),
        plans=(None,),
        num_frames=known.latent_frames,
        stride=find(network).temporal_stride(network),
        fps=Fraction(24),
    )
    one_call = len(header.heads) * header.num_frames**2 * BYTES
    whole = one_call * len(header.layers) * header.num_steps * len(header.branches)
    assert whole / 1e6 == pytest.approx(known.whole_run_mb, rel=2e-3)
    # The map it was reduced from is out of reach: at least 6 GB a call in bfloat16.
    assert known.heads * known.tokens**2 * 2 > 3e9 > 1e4 * one_call
