"""Taps among what else people do to a pipeline: adapters, quantised layers, offloading, compilation, caches, back ends.

Each is done before attaching and after; the video must be the one that the same pipeline makes without taps, and what
the hook points show must be what a softmax over the queries and keys says.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from attnscope.errors import UnsupportedModelError
from attnscope.hooks import attach, run_with_cache
from attnscope.testing import specimen
from attnscope.testing.wan import tiny_wan

SMALL = {
    "prompt": "a cat",
    "height": 32,
    "width": 32,
    "num_frames": 13,
    "num_inference_steps": 2,
    "max_sequence_length": 6,
    "output_type": "latent",
}
SITE = "blocks.1.attn"


def settings():
    return {**SMALL, "generator": torch.Generator().manual_seed(3)}


class Int8Linear(nn.Module):
    """A linear layer whose weights are kept in 8 bits, one scale a row: what quantisers put in place of nn.Linear."""

    def __init__(self, linear):
        super().__init__()
        scale = linear.weight.abs().amax(1, keepdim=True) / 127
        self.register_buffer("weight", (linear.weight / scale).round().to(torch.int8))
        self.register_buffer("scale", scale.detach())
        self.bias = linear.bias
        self.out_features, self.in_features = linear.weight.shape

    def forward(self, hidden):
        return nn.functional.linear(hidden, self.weight.to(hidden.dtype) * self.scale, self.bias)


def in_place_of_linears(transformer, make):
    for name, module in list(transformer.blocks.named_modules()):
        if type(module) is nn.Linear:
            parent, _, child = name.rpartition(".")
            setattr(transformer.blocks.get_submodule(parent), child, make(module))


def quantised(pipe):
    in_place_of_linears(pipe.transformer, Int8Linear)


def adapted(pipe):
    from peft import LoraConfig

    torch.manual_seed(5)
    config = LoraConfig(r=2, target_modules=["to_q", "to_k", "to_v"], init_lora_weights=False)
    pipe.transformer.add_adapter(config)


def offloaded_as_a_model(pipe):
    import accelerate

    accelerate.cpu_offload_with_hook(pipe.transformer, execution_device="cpu")


def offloaded_layer_by_layer(pipe):
    import accelerate

    accelerate.cpu_offload(pipe.transformer, execution_device=torch.device("cpu"))


def offloaded_in_blocks(pipe):
    pipe.transformer.enable_group_offload(
        onload_device=torch.device("cpu"),
        offload_device=torch.device("cpu"),
        offload_type="block_level",
        num_blocks_per_group=1,
    )


def offloaded_in_leaves(pipe):
    pipe.transformer.enable_group_offload(
        onload_device=torch.device("cpu"), offload_device=torch.device("cpu"), offload_type="leaf_level"
    )


def compiled_in_place(pipe):
    pipe.transformer.compile(backend="eager")


def compiled_in_blocks(pipe):
    pipe.transformer.compile_repeated_blocks(backend="eager")


def compiled_from_outside(pipe):
    pipe.transformer = torch.compile(pipe.transformer, backend="eager")


def on_another_back_end(pipe):
    pipe.transformer.set_attention_backend("_native_math")


def with_fused_projections(pipe):
    pipe.transformer.fuse_qkv_projections()


WAYS = [
    adapted,
    quantised,
    offloaded_as_a_model,
    offloaded_layer_by_layer,
    offloaded_in_blocks,
    offloaded_in_leaves,
    compiled_in_place,
    compiled_in_blocks,
    compiled_from_outside,
    on_another_back_end,
    with_fused_projections,
]


@pytest.fixture
def back_end():
    """diffusers sets a back end for the whole process, too; this undoes it."""
    from diffusers.models.attention_dispatch import attention_backend

    with attention_backend("native"):
        yield


@pytest.mark.usefixtures("back_end")
@pytest.mark.parametrize("way", WAYS)
def test_it_is_seen_through_whatever_was_done_before_or_after_attaching(way):
    plain = tiny_wan(2)
    way(plain)
    expected = plain(**settings()).frames
    if way in (adapted, quantised):
        assert not torch.equal(expected, tiny_wan(2)(**settings()).frames)
    names = [f"{SITE}.hook_{member}" for member in ("q", "k", "frame_mass")]
    masses = []
    for order in ("before", "after"):
        pipe = tiny_wan(2)
        if order == "before":
            way(pipe)
        with attach(pipe) as attachment:
            if order == "after":
                way(pipe)
            idle = pipe(**settings()).frames
            result, cache = run_with_cache(attachment, names_filter=names, **settings())
        assert torch.equal(idle, expected), order
        assert torch.equal(result.frames, expected), order
        query, key, mass = ([record.value for record in cache[name]] for name in names)
        assert len(mass) == 4, order
        for q, k, m in zip(query, key, mass, strict=True):
            pattern = (torch.einsum("bnhd,bmhd->bhnm", q, k) / 12**0.5).softmax(-1)
            wanted = pattern.unflatten(-1, (4, 4)).sum(-1).unflatten(-2, (4, 4)).mean(-2)
            torch.testing.assert_close(m, wanted, rtol=0, atol=1e-5)
        masses.append(torch.stack(mass))
        assert torch.equal(pipe(**settings()).frames, expected), order
    assert torch.equal(*masses)


def caches():
    import diffusers

    return {
        "first block": diffusers.FirstBlockCacheConfig(threshold=0.1),
        "pyramid attention broadcast": diffusers.PyramidAttentionBroadcastConfig(
            spatial_attention_block_skip_range=2, current_timestep_callback=lambda: 500
        ),
        "faster": diffusers.FasterCacheConfig(
            spatial_attention_block_skip_range=2, current_timestep_callback=lambda: 500
        ),
        "taylorseer": diffusers.TaylorSeerCacheConfig(cache_interval=2, use_lite_mode=True),
        "mag": diffusers.MagCacheConfig(num_inference_steps=2, mag_ratios=[1.0, 1.0]),
    }


@pytest.mark.parametrize(
    "name", ["first block", "pyramid attention broadcast", "faster", "taylorseer", "mag"]
)
def test_every_cache_of_diffusers_that_skips_work_is_refused_before_and_after_attaching(name):
    pipe = tiny_wan(2)
    pipe.transformer.enable_cache(caches()[name])
    with pytest.raises(
        UnsupportedModelError, match=r"runs every layer at every step, .* disable_cache\(\)"
    ) as said:
        attach(pipe)
    assert "\n" not in str(said.value)
    pipe.transformer.disable_cache()
    with attach(pipe):
        pipe(**settings())
        pipe.transformer.enable_cache(caches()[name])
        with pytest.raises(UnsupportedModelError, match="runs every layer at every step"):
            pipe(**settings())


def hooked(denoiser):
    registries = ((path, getattr(part, "_diffusers_hook", None)) for path, part in denoiser.named_modules())
    return [path for path, registry in registries if registry is not None and registry.hooks]


def test_taylorseer_as_it_comes_is_refused_where_it_finds_attention_and_elsewhere_does_nothing():
    """Its own patterns end in `attn`: they find HunyuanVideo's attention, and nothing in Wan, whose is `attn1`."""
    import diffusers

    config = diffusers.TaylorSeerCacheConfig(cache_interval=2, disable_cache_before_step=0)
    found = specimen("hunyuan-video")
    pipe = found.build()
    sites = [site.module for site in found.family.sites(pipe.transformer)]
    pipe.transformer.enable_cache(config)
    assert hooked(pipe.transformer) == sites
    with pytest.raises(UnsupportedModelError, match="cache hook 'taylorseer_cache' at .*attn; call disable"):
        attach(pipe)
    pipe.transformer.disable_cache()
    with attach(pipe):
        pipe.transformer.enable_cache(config)
        with pytest.raises(UnsupportedModelError, match="cache hook 'taylorseer_cache'"):
            found.run(pipe)

    pipe = tiny_wan(2)
    expected = pipe(**settings()).frames
    pipe.transformer.enable_cache(config)
    assert hooked(pipe.transformer) == []
    with attach(pipe):
        assert torch.equal(pipe(**settings()).frames, expected)


def test_taylorseer_told_where_attention_is_is_refused():
    import diffusers

    pipe = tiny_wan(2)
    pipe.transformer.enable_cache(diffusers.TaylorSeerCacheConfig(cache_identifiers=["blocks.1.attn1"]))
    assert hooked(pipe.transformer) == ["blocks.1.attn1"]
    with pytest.raises(UnsupportedModelError, match="cache hook 'taylorseer_cache' at blocks.1.attn1;"):
        attach(pipe)


def test_an_idle_tap_breaks_no_graph():
    from torch._dynamo.utils import counters

    pipe = tiny_wan(2)
    pipe.transformer.compile_repeated_blocks(backend="eager", fullgraph=True)
    expected = tiny_wan(2)(**settings()).frames
    counters.clear()
    with attach(pipe):
        assert torch.equal(pipe(**settings()).frames, expected)
    assert not counters["graph_break"]
