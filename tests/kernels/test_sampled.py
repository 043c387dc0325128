"""A sample of the query tokens against the exact mass, and its standard error against the scatter over seeds."""

from __future__ import annotations

import pytest
import torch

from attnscope_kernels import frame_mass, sampled_frame_mass
from attnscope_kernels.mass.sampled import draw_tokens

STEPS = (0, 400, 900)


def draw(seed, tokens):
    return torch.randn(1, tokens, 2, 16, generator=torch.Generator().manual_seed(seed))


def test_the_whole_as_a_sample_is_exact_and_has_no_error():
    query, key = draw(1, 900), draw(2, 900)
    exact = frame_mass(query, key, query_offsets=STEPS, key_offsets=STEPS).mass
    found = sampled_frame_mass(query, key, query_offsets=STEPS, key_offsets=STEPS, share=1)
    torch.testing.assert_close(found.mass, exact, rtol=0, atol=1e-6)
    assert (found.standard_error == 0).all()


def test_the_standard_error_is_the_scatter_over_seeds():
    # tokens of a strip are no more alike than others here, so the formula of chance holds and is not too large
    query, key = 2 * draw(1, 900), draw(2, 900)
    exact = frame_mass(query, key, query_offsets=STEPS, key_offsets=STEPS).mass
    found = [
        sampled_frame_mass(query, key, query_offsets=STEPS, key_offsets=STEPS, share=1 / 8, seed=seed)
        for seed in range(200)
    ]
    away = torch.stack([one.mass - exact for one in found])
    said = torch.stack([one.standard_error for one in found])
    ratio = away.square().mean(0).sqrt() / said.square().mean(0).sqrt()
    assert (ratio > 0.8).all()
    assert (ratio < 1.2).all()
    assert (away.mean(0).abs() < 4 * said.mean(0) / 200**0.5).all()  # unbiased


def test_a_frame_that_is_smooth_in_space_is_known_better_than_the_error_says():
    ramp = torch.linspace(-2, 2, 400)[None, :, None, None].expand(1, 400, 1, 8)
    key = torch.tensor([1.0, -1.0])[None, :, None, None].expand(1, 2, 1, 8)
    grouped = {"query_offsets": (0, 400), "key_offsets": (0, 1, 2)}
    exact = frame_mass(ramp, key, **grouped).mass
    found = [sampled_frame_mass(ramp, key, **grouped, seed=seed) for seed in range(20)]
    away = max(float((one.mass - exact).abs().max()) for one in found)
    assert away < float(found[0].standard_error.min()) / 3


def test_one_token_is_drawn_from_each_strip():
    chosen, weights, offsets = draw_tokens((0, 400, 900), 0.1, seed=3)
    assert (weights == 1).all()
    assert offsets == (0, 40, 90)
    assert (chosen[:40] // 10).tolist() == list(range(40))
    assert ((chosen[40:] - 400) // 10).tolist() == list(range(50))
    again, *_ = draw_tokens((0, 400, 900), 0.1, seed=3)
    other, *_ = draw_tokens((0, 400, 900), 0.1, seed=4)
    assert torch.equal(chosen, again)
    assert not torch.equal(chosen, other)


def test_strips_of_unequal_width_do_not_pull_the_mean():
    # every token gives its whole attention to one of two keys: the first half of the frame to the first key
    query = torch.where(torch.arange(24) < 12, 60.0, -60.0)[None, :, None, None].expand(1, 24, 1, 8)
    key = torch.tensor([1.0, -1.0])[None, :, None, None].expand(1, 2, 1, 8)
    grouped = {"query_offsets": (0, 24), "key_offsets": (0, 1, 2)}
    found = [sampled_frame_mass(query, key, **grouped, share=0.7, seed=seed).mass for seed in range(200)]
    assert abs(float(torch.stack(found).mean(0)[0, 0, 0, 0]) - 0.5) < 0.01


def test_relations_hold_in_a_sample_too():
    query, key = draw(1, 900), draw(2, 900)
    hidden = torch.tensor([[True, False], [True, True]])
    found = sampled_frame_mass(query, key, query_offsets=STEPS, key_offsets=STEPS, relation=hidden)
    assert found.mass[0, 0, 0].tolist() == [1.0, 0.0]


def test_too_small_a_sample_is_refused():
    query = draw(1, 900)
    for share, text in (
        (0.01, "expected at least 16 sampled tokens a frame, got 4 of 400"),
        (0, "above 0"),
        (2, "at most 1"),
    ):
        with pytest.raises(ValueError, match=text) as caught:
            sampled_frame_mass(query, query, query_offsets=STEPS, key_offsets=STEPS, share=share)
        assert "\n" not in str(caught.value)
