"""Short sequences in large numbers: a UNet attends over time at every place of the picture by itself."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from attnscope_kernels import _chunked, frame_mass, select_mass, shot_attention

FRAMES, PLACES, VIDEOS, HEADS, SIZE = 16, 60, 2, 3, 8
STEPS = tuple(range(FRAMES + 1))


def draw(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(VIDEOS * PLACES, FRAMES, HEADS, SIZE, generator=generator)


@pytest.fixture
def tensors():
    return draw(1), draw(2), draw(3)


def pattern(query, key, bias=0.0):
    return (torch.einsum("bnhd,bmhd->bhnm", query, key) / SIZE**0.5 + bias).softmax(-1)


def test_the_mass_is_the_mean_over_places(tensors):
    found = frame_mass(*tensors, query_offsets=STEPS, key_offsets=STEPS, num_places=PLACES)
    expected = pattern(*tensors[:2]).unflatten(0, (VIDEOS, PLACES)).mean(1)
    assert found.mass.shape == (VIDEOS, HEADS, FRAMES, FRAMES)
    torch.testing.assert_close(found.mass, expected, rtol=0, atol=1e-6)
    plain = F.scaled_dot_product_attention(*(t.transpose(1, 2) for t in tensors)).transpose(1, 2)
    torch.testing.assert_close(found.output, plain, rtol=0, atol=1e-6)


@pytest.mark.parametrize("way", ["reference", "split", "kernel"])
def test_other_ways_average_over_places_too(tensors, way):
    few = [t[: 2 * 3] for t in tensors]
    found = frame_mass(*few, query_offsets=(0, 16), key_offsets=(0, 4, 16), num_places=3, implementation=way)
    expected = pattern(*few[:2]).unflatten(0, (2, 3)).mean((1, 3))
    sums = torch.stack([expected[..., :4].sum(-1), expected[..., 4:].sum(-1)], -1)
    torch.testing.assert_close(found.mass[:, :, 0], sums, rtol=0, atol=1e-6)


def test_rows_are_computed_together_and_not_one_by_one(tensors, monkeypatch):
    calls = []
    original = torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda a, b: calls.append(a.shape[0]) or original(a, b))
    frame_mass(*tensors, query_offsets=STEPS, key_offsets=STEPS, num_places=PLACES)
    assert calls == [VIDEOS * PLACES * HEADS] * 2  # scores and output, all places and heads at once
    calls.clear()
    monkeypatch.setitem(_chunked.BLOCK_ELEMENTS, "cpu", 50 * HEADS * FRAMES**2)
    frame_mass(*tensors, query_offsets=STEPS, key_offsets=STEPS, num_places=PLACES)
    assert calls == [150, 150, 150, 150, 60, 60]  # a block may end within a video


def test_a_mask_is_one_call_a_shot_whatever_the_number_of_places(tensors, monkeypatch):
    calls = []
    original = F.scaled_dot_product_attention

    def counted(q, k, v, **rest):
        calls.append((q.shape[0], q.shape[2], k.shape[2]))
        return original(q, k, v, **rest)

    monkeypatch.setattr(F, "scaled_dot_product_attention", counted)
    shots = torch.block_diag(torch.ones(6, 6), torch.ones(10, 10)).bool()
    split = shot_attention(*tensors, shots, query_offsets=STEPS, key_offsets=STEPS, implementation="split")
    assert calls == [(120, 6, 6), (120, 10, 10)]
    found = shot_attention(*tensors, shots, query_offsets=STEPS, key_offsets=STEPS)
    assert calls[2:] == [(120, 16, 16)]  # all shots in one call, with a mask of 16 x 16
    torch.testing.assert_close(found, split, rtol=0, atol=1e-6)
    bias = torch.zeros(FRAMES, FRAMES).masked_fill(~shots, -torch.inf)
    expected = torch.einsum("bhnm,bmhd->bnhd", pattern(*tensors[:2], bias), tensors[2])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_two_plans_in_one_batch_are_two_groups_of_entries(tensors, monkeypatch):
    calls = []
    original = F.scaled_dot_product_attention
    monkeypatch.setattr(
        F, "scaled_dot_product_attention", lambda *t, **rest: calls.append(len(t[0])) or original(*t, **rest)
    )
    relation = torch.zeros(VIDEOS * PLACES, 1, FRAMES, FRAMES)
    relation[1::2, :, 0, 1] = -torch.inf
    found, lse = shot_attention(
        *tensors, relation, query_offsets=STEPS, key_offsets=STEPS, with_lse=True, implementation="split"
    )
    plain = shot_attention(*tensors, relation, query_offsets=STEPS, key_offsets=STEPS, implementation="split")
    assert calls == [60, 60, 60]  # entries alike are one call: one run, and two runs
    expected = torch.einsum("bhnm,bmhd->bnhd", pattern(*tensors[:2], relation), tensors[2])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(plain, expected, rtol=0, atol=1e-6)
    scores = torch.einsum("bnhd,bmhd->bhnm", *tensors[:2]) / SIZE**0.5 + relation
    torch.testing.assert_close(lse, scores.logsumexp(-1), rtol=0, atol=1e-5)


def test_gradients_of_the_mean_over_places(tensors):
    leaves = [[t.double().requires_grad_() for t in tensors[:2]] for _ in range(2)]
    weight = torch.randn(VIDEOS, HEADS, FRAMES, FRAMES, dtype=torch.float64)
    found = frame_mass(*leaves[0], query_offsets=STEPS, key_offsets=STEPS, num_places=PLACES).mass
    expected = pattern(*leaves[1]).unflatten(0, (VIDEOS, PLACES)).mean(1)
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    for one, other in zip(*leaves, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=1e-12)


def test_the_short_way_is_chosen_and_places_must_fit(tensors):
    shape = {"device": "cpu", "num_tokens": FRAMES, "num_groups": FRAMES, "needs_gradient": False}
    assert "large batches" in select_mass(**shape, with_output=True).reason
    with pytest.raises(ValueError, match="expected num_places to divide the batch of 120, got 7"):
        frame_mass(*tensors, query_offsets=STEPS, key_offsets=STEPS, num_places=7)
