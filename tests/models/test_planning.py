"""A plan is right without a weight: bytes and operations of published models, against closed forms and a run."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import attnscope as scope
from attnscope.errors import AttnscopeError, InputError, UnknownModelError
from attnscope.models import planning
from attnscope.models.blank import build_network, cost_of_call, cut_depth
from attnscope.models.published import PUBLISHED, Part, require_published
from attnscope_kernels import DeviceTable, Rates

WAN = require_published("wan2.1-1.3b")
# Weights as the authors count them, in 1e9, with what was counted beside their names.
BILLIONS = {"wan2.1-1.3b": 1.42, "wan2.1-14b": 14.3, "cogvideox-5b": 5.57, "ltx-video": 1.92, "mochi-1": 10.0}


@pytest.mark.parametrize("name", BILLIONS)
def test_a_network_has_as_many_weights_as_the_published_one(name: str) -> None:
    network = build_network(require_published(name).denoiser)
    assert sum(each.numel() for each in network.parameters()) / 1e9 == pytest.approx(BILLIONS[name], rel=0.01)
    assert all(each.is_meta for each in network.parameters())


def test_text_encoders_share_their_embedding() -> None:
    encoder = build_network(WAN.text_encoders["text_encoder"])
    assert sum(each.numel() for each in encoder.parameters()) / 1e9 == pytest.approx(5.68, rel=0.01)


def test_operations_of_a_call_are_those_of_the_closed_form() -> None:
    layers, latent, side = 2, 3, 16
    network = build_network(cut_depth(WAN, layers).denoiser)
    cost = cost_of_call(network, (1, 16, latent, 2 * side, 2 * side), 512, torch.bfloat16)
    assert cost is not None
    tokens, width = latent * side**2, 12 * 128
    assert cost.attention_flops == layers * 4 * tokens * (tokens + 512) * width
    in_blocks = layers * 2 * (tokens * (6 * width**2 + 2 * width * 8960) + 2 * 512 * width**2)
    assert in_blocks < cost.other_flops < 1.05 * in_blocks + 2 * 512 * (4096 + width) * width


def test_bytes_alive_are_those_of_a_real_call() -> None:
    """The same call with numbers, its tensors followed one by one: the plan has no other way to be wrong."""
    from attnscope.models.blank import _Live

    config = {
        "num_attention_heads": 2,
        "attention_head_dim": 64,
        "num_layers": 2,
        "ffn_dim": 640,
        "text_dim": 32,
    }
    part = Part("WanTransformer3DModel", config)
    latents = (1, 16, 3, 32, 32)
    expected = cost_of_call(build_network(part), latents, 512, torch.float32)
    assert expected is not None
    import diffusers

    network = diffusers.WanTransformer3DModel(**config).eval()
    given = torch.zeros(latents), torch.zeros(1, dtype=torch.long), torch.zeros(1, 512, 32)
    live = _Live(network)
    with torch.no_grad(), live:
        network(*given, return_dict=False)
    assert expected.peak_bytes == pytest.approx(live.peak, rel=0.15)


def test_times_are_taken_from_the_table_of_the_device(monkeypatch: Any) -> None:
    table = DeviceTable("x", {}, (), (), {"bfloat16": Rates(attention=1e12, linear=2e12, mass=5e11)})
    monkeypatch.setattr(planning, "read_table", lambda device: table)
    small = planning.plan_run("wan-mini", num_steps=4)
    assert small.attention_tflops is not None
    assert small.other_tflops is not None
    one_call = small.attention_tflops + small.other_tflops / 2
    assert small.plain_s == pytest.approx(4 * 2 * one_call)
    assert small.probed_s == pytest.approx(4 * 2 * (one_call + small.probe_tflops / 0.5))


@pytest.mark.slow
def test_a_model_at_full_size_is_cut_and_the_same_again() -> None:
    small = {"num_layers": 1, "dtype": "bf16"}
    one, other = (scope.testing.full("ltx-video", seed=seed, **small).transformer for seed in (0, 1))
    assert len(one.transformer_blocks) == 1
    weight = one.transformer_blocks[0].attn1.to_q.weight
    assert (weight.dtype, tuple(weight.shape)) == (torch.bfloat16, (2048, 2048))
    again = scope.testing.full("Lightricks/LTX-Video", **small).transformer.transformer_blocks[0].attn1.to_q
    assert torch.equal(weight, again.weight)
    assert not torch.equal(weight, other.transformer_blocks[0].attn1.to_q.weight)
    assert 0.9 < float(weight.detach().float().std()) * 2048**0.5 < 1.1


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_model_is_built_and_attached_to(name: str) -> None:
    pipe = scope.testing.full(name, num_layers=3, device="meta")
    with scope.attach(pipe) as attachment:
        assert sorted(attachment.taps) == [1, 2, 3]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"name": "wan2.1"}, UnknownModelError, "did you mean"),
        ({"name": "mochi-1", "num_layers": 49}, InputError, "at most 48 layers"),
        ({"name": "hunyuan-video", "num_layers": 61}, InputError, "at most 60 layers"),
        ({"name": "mochi-1", "num_layers": 0}, InputError, "as num_layers"),
        ({"name": "mochi-1", "dtype": "int8"}, InputError, "a type out of"),
    ],
)
def test_a_full_size_that_does_not_exist_is_refused(
    settings: dict[str, Any], error: type[AttnscopeError], message: str
) -> None:
    with pytest.raises(error, match=message):
        scope.testing.full(**settings)
