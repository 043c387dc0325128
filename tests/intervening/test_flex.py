"""FlexAttention under an exported rule against attention with the rule written out token by token."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from attnscope import masks
from attnscope.intervening.flex import flex_mask
from attnscope.masks import Group, Sides, compile_rule
from attnscope.shots import ShotPlan

PLAN = ShotPlan.from_latent_frames([3, 5], num_frames_latent=8, fps=16)
SIDES = Sides.of_frames(8)
JOINT = Sides.joint(
    [*(Group("text", index) for index in range(3)), *(Group("frame", index) for index in range(8))]
)
CASES = [
    (masks.same_shot(PLAN), SIDES, [24] * 8),
    (masks.same_shot(PLAN) | masks.first_frame(times=2), SIDES, [24] * 8),
    (masks.fade(PLAN, 2), SIDES, [3, 40, 1, 30, 20, 8, 20, 50]),
    (masks.same_shot(PLAN) | masks.own_text(PLAN), JOINT, [5, 20, 9] + [24] * 8),
    (masks.together(PLAN, 5.0, reach=1), SIDES, [16] * 8),
]


@pytest.mark.filterwarnings(
    "ignore:flex_attention called without torch.compile"
)  # the reference is what is wanted here
@pytest.mark.parametrize("block_size", [32, 64, 128])
@pytest.mark.parametrize(("rule", "sides", "tokens"), CASES)
def test_flex_attention_is_the_rule(rule, sides, tokens, block_size):
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 2, 2, sum(tokens), 16, generator=generator)
    bias = np.repeat(np.repeat(compile_rule(rule, sides), tokens, axis=0), tokens, axis=1)
    expected = (query @ key.transpose(-1, -2) / 4 + torch.from_numpy(bias).float()).softmax(-1) @ value
    mask = flex_mask(rule, sides, tokens, block_size=block_size)
    found = flex_attention(query, key, value, **mask._asdict())
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    plain = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    assert (plain - expected).abs().max() > 0.05  # the rule does something
    assert (mask.score_mod is None) == bool((bias[~np.isneginf(bias)] == 0).all())


@pytest.mark.parametrize(("rule", "sides", "tokens"), CASES)
def test_blocks_are_those_that_pytorch_finds_pair_by_pair(rule, sides, tokens):
    mask = flex_mask(rule, sides, tokens, block_size=64).block_mask
    number = sum(tokens)
    theirs = create_block_mask(mask.mask_mod, None, None, number, number, device="cpu", BLOCK_SIZE=64)
    assert torch.equal(mask.to_dense(), theirs.to_dense())
    assert torch.equal(mask.kv_num_blocks, theirs.kv_num_blocks)
    assert torch.equal(mask.full_kv_num_blocks, theirs.full_kv_num_blocks)
    assert mask.seq_lengths == theirs.seq_lengths
