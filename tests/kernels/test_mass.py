"""The frame mass against its definition, over layouts, relations and implementations; and its memory."""

from __future__ import annotations

import itertools
import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from attnscope_kernels import RelationError, _chunked, frame_mass, token_mass
from attnscope_kernels.mass import split

WAYS = ("reference", "chunked", "split", "kernel")


def offsets(lengths):
    return tuple(itertools.accumulate(lengths, initial=0))


def draw(seed, batch, tokens, heads, size, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, tokens, heads, size, generator=generator, dtype=torch.float64).to(dtype)


def by_loops(query, key, value, rows, groups, bias=None):
    """The definition, one query token at a time, in float64, sharing no code with the package."""
    query, key, value = query.double(), key.double(), value.double()
    batch, num_tokens, heads, size = query.shape
    mass = torch.zeros(batch, heads, len(rows) - 1, len(groups) - 1, dtype=torch.float64)
    lse = torch.zeros(batch, heads, num_tokens, dtype=torch.float64)
    output = torch.zeros_like(query)
    for b, h in itertools.product(range(batch), range(heads)):
        for f in range(len(rows) - 1):
            for i in range(rows[f], rows[f + 1]):
                score = key[b, :, h] @ query[b, i, h] / math.sqrt(size)
                for g in range(len(groups) - 1):
                    if bias is not None:
                        score[groups[g] : groups[g + 1]] += float(bias[f, g])
                lse[b, h, i] = torch.logsumexp(score, 0)
                weight = torch.exp(score - lse[b, h, i])
                output[b, i, h] = weight @ value[b, :, h]
                for g in range(len(groups) - 1):
                    share = weight[groups[g] : groups[g + 1]].sum()
                    mass[b, h, f, g] += share / (rows[f + 1] - rows[f])
    return output, lse, mass


lengths = st.lists(st.integers(1, 5), min_size=1, max_size=4)


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=12, deadline=None)
@given(rows=lengths, groups=lengths, seed=st.integers(0, 99), masked=st.booleans())
def test_equals_the_definition_over_uneven_layouts(way, rows, groups, seed, masked):
    rows, groups = offsets(rows), offsets(groups)
    query, key, value = (
        draw(seed, 2, rows[-1], 2, 8),
        draw(seed + 1, 2, groups[-1], 2, 8),
        draw(seed + 2, 2, groups[-1], 2, 8),
    )
    bias = None
    if masked:
        bias = draw(seed + 3, 1, len(rows) - 1, len(groups) - 1, 1)[0, :, :, 0].double()
        bias[bias > 0.7] = -torch.inf
        bias[:, seed % (len(groups) - 1)] = 0.3
    found = frame_mass(
        query, key, value, query_offsets=rows, key_offsets=groups, relation=bias, implementation=way
    )
    output, lse, mass = by_loops(query, key, value, rows, groups, bias)
    assert found.mass.dtype == torch.float32
    torch.testing.assert_close(found.mass.double(), mass, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.lse.double(), lse, rtol=0, atol=5e-6)
    torch.testing.assert_close(found.output.double(), output, rtol=0, atol=5e-6)
    torch.testing.assert_close(found.mass.sum(-1), torch.ones(2, 2, len(rows) - 1), rtol=0, atol=1e-6)
    if bias is not None:
        assert (found.mass[..., torch.isneginf(bias)] == 0).all()


@pytest.mark.parametrize("way", ["reference", "chunked", "split"])
def test_is_exact_in_float64(way):
    query, key, value = (draw(seed, 1, 12, 2, 16, torch.float64) for seed in (1, 2, 3))
    output, lse, mass = by_loops(query, key, value, (0, 5, 12), (0, 4, 8, 12))
    found = frame_mass(
        query, key, value, query_offsets=(0, 5, 12), key_offsets=(0, 4, 8, 12), implementation=way
    )
    for name, expected in (("output", output), ("lse", lse), ("mass", mass)):
        torch.testing.assert_close(getattr(found, name), expected, rtol=0, atol=1e-13)


def test_many_small_blocks_give_what_one_block_gives(monkeypatch):
    query, key, value = (draw(seed, 2, 60, 3, 8) for seed in (1, 2, 3))
    keywords = {"query_offsets": (0, 13, 60), "key_offsets": tuple(range(0, 61, 12))}
    whole = frame_mass(query, key, value, implementation="chunked", **keywords)
    for elements in (1, 70, 1000, 8000):
        monkeypatch.setitem(_chunked.BLOCK_ELEMENTS, "cpu", elements)
        cut = frame_mass(query, key, value, implementation="chunked", **keywords)
        for one, other in zip(whole, cut, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=8, deadline=None)
@given(order=st.permutations(range(4)), seed=st.integers(0, 99))
def test_permuting_key_groups_permutes_columns(way, order, seed):
    groups = offsets([2, 3, 1, 4])
    query, key = draw(seed, 1, 6, 2, 8), draw(seed + 1, 1, 10, 2, 8)
    value = torch.zeros_like(key)
    moved = torch.cat([key[:, groups[g] : groups[g + 1]] for g in order], 1)
    shuffled = offsets([groups[g + 1] - groups[g] for g in order])
    plainly = frame_mass(query, key, value, query_offsets=(0, 6), key_offsets=groups, implementation=way)
    found = frame_mass(query, moved, value, query_offsets=(0, 6), key_offsets=shuffled, implementation=way)
    torch.testing.assert_close(found.mass, plainly.mass[..., list(order)], rtol=0, atol=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_merging_two_groups_adds_their_mass(way):
    query, key = draw(1, 1, 6, 2, 8), draw(2, 1, 10, 2, 8)
    value = torch.zeros_like(key)
    fine = frame_mass(
        query, key, value, query_offsets=(0, 2, 6), key_offsets=(0, 3, 5, 10), implementation=way
    )
    merged = frame_mass(
        query, key, value, query_offsets=(0, 2, 6), key_offsets=(0, 5, 10), implementation=way
    )
    torch.testing.assert_close(merged.mass[..., 0], fine.mass[..., 0] + fine.mass[..., 1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_a_constant_bias_changes_no_mass_and_large_logits_stay_finite(way):
    query, key = 200 * draw(1, 1, 6, 2, 8), draw(2, 1, 6, 2, 8)
    keywords = {"query_offsets": (0, 2, 6), "key_offsets": (0, 3, 6), "implementation": way}
    without = frame_mass(query, key, key, **keywords)
    with_it = frame_mass(query, key, key, relation=torch.full((2, 2), -3.0), **keywords)
    assert torch.isfinite(without.mass).all()
    assert torch.isfinite(without.output).all()
    torch.testing.assert_close(with_it.mass, without.mass, rtol=0, atol=1e-4)
    torch.testing.assert_close(with_it.output, without.output, rtol=0, atol=1e-3)


@pytest.mark.parametrize("way", ["chunked", "split"])
def test_what_hidden_keys_hold_cannot_leak(way):
    query, key, value = (draw(seed, 1, 6, 2, 8) for seed in (1, 2, 3))
    bias = torch.tensor([[0.0, -torch.inf], [-1.0, 0.5]])
    keywords = {"query_offsets": (0, 3, 6), "key_offsets": (0, 3, 6), "relation": bias, "implementation": way}
    clean = frame_mass(query, key, value, **keywords)
    key[:, 3:], value[:, 3:] = torch.nan, torch.nan
    found = frame_mass(query, key, value, **keywords)
    torch.testing.assert_close(found.mass[..., 0, :], clean.mass[..., 0, :], rtol=0, atol=0)
    torch.testing.assert_close(found.output[:, :3], clean.output[:, :3], rtol=0, atol=0)


@pytest.mark.parametrize("way", WAYS)
def test_a_relation_per_head_and_per_batch_entry(way):
    query, key, value = (draw(seed, 2, 6, 3, 8) for seed in (1, 2, 3))
    bias = draw(4, 2, 3, 2, 2).double()
    bias[1, 2, 0, 1] = -torch.inf
    bias[0, 0] = bias[0, 2]
    keywords = {"query_offsets": (0, 2, 6), "key_offsets": (0, 3, 6)}
    found = frame_mass(query, key, value, relation=bias, implementation=way, **keywords)
    for b, h in itertools.product(range(2), range(3)):
        one = [tensor[b : b + 1, :, h : h + 1] for tensor in (query, key, value)]
        output, lse, mass = by_loops(*one, *keywords.values(), bias[b, h])
        torch.testing.assert_close(found.mass[b, h].double(), mass[0, 0], rtol=0, atol=1e-6)
        torch.testing.assert_close(found.lse[b, h].double(), lse[0, 0], rtol=0, atol=5e-6)
        torch.testing.assert_close(found.output[b, :, h].double(), output[0, :, 0], rtol=0, atol=5e-6)


def test_bfloat16_input_is_as_exact_as_the_input_allows():
    query, key = draw(1, 1, 64, 2, 16, torch.bfloat16), draw(2, 1, 64, 2, 16, torch.bfloat16)
    _, _, mass = by_loops(query, key, key, (0, 32, 64), (0, 10, 64))
    found = frame_mass(query, key, query_offsets=(0, 32, 64), key_offsets=(0, 10, 64))
    assert found.mass.dtype == torch.float32
    torch.testing.assert_close(found.mass.double(), mass, rtol=0, atol=1e-6)


def test_only_looking_computes_no_output():
    query = draw(1, 1, 4, 1, 8)
    assert frame_mass(query, query, query_offsets=(0, 4), key_offsets=(0, 4)).output is None


def test_token_mass_averages_to_frame_mass():
    query, key = draw(1, 2, 10, 2, 8), draw(2, 2, 12, 2, 8)
    bias = torch.tensor([[0.0, -torch.inf, 1.0], [-1.0, 0.0, 0.0]])
    keywords = {"query_offsets": (0, 4, 10), "key_offsets": (0, 5, 7, 12), "relation": bias}
    token, frame = token_mass(query, key, **keywords), frame_mass(query, key, **keywords)
    assert token.mass.shape == (2, 2, 10, 3)
    torch.testing.assert_close(token.mass[..., :4, :].mean(-2), frame.mass[..., 0, :], rtol=0, atol=1e-7)
    torch.testing.assert_close(token.mass[..., 4:, :].mean(-2), frame.mass[..., 1, :], rtol=0, atol=1e-7)


def test_gradients_through_the_mass_equal_those_of_the_definition(monkeypatch):
    monkeypatch.setitem(_chunked.BLOCK_ELEMENTS, "cpu", 40)
    grads = []
    for way in ("reference", "chunked"):
        tensors = [draw(seed, 1, 10, 2, 8, torch.float64).requires_grad_() for seed in (1, 2, 3)]
        keywords = {"query_offsets": (0, 4, 10), "key_offsets": (0, 3, 10), "implementation": way}
        found = frame_mass(*tensors, relation=torch.tensor([[0.0, 0.4], [-torch.inf, 0.0]]), **keywords)
        (found.mass[..., 0].square().sum() + found.output.square().sum() + found.lse.sum()).backward()
        grads.append([tensor.grad for tensor in tensors])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def peak_of(memory_of, way, tokens_per_frame, with_value):
    frames, heads, size = 8, 2, 16
    tokens = frames * tokens_per_frame
    query, key, value = (draw(seed, 1, tokens, heads, size) for seed in (1, 2, 3))
    steps = tuple(range(0, tokens + 1, tokens_per_frame))
    with memory_of() as memory:
        frame_mass(
            query,
            key,
            value if with_value else None,
            query_offsets=steps,
            key_offsets=steps,
            implementation=way,
        )
    return memory


@pytest.mark.parametrize("with_value", [False, True])
def test_peak_memory_of_chunks_grows_with_the_tokens_and_not_with_their_square(
    memory_of, monkeypatch, with_value
):
    monkeypatch.setitem(_chunked.BLOCK_ELEMENTS, "cpu", 1 << 16)
    small, large = (
        peak_of(memory_of, "chunked", 64, with_value),
        peak_of(memory_of, "chunked", 256, with_value),
    )
    assert small.largest <= 4 * (1 << 16)
    assert large.largest <= 4 * (1 << 16)
    assert large.peak < 4 * small.peak
    naive = peak_of(memory_of, "reference", 64, with_value), peak_of(memory_of, "reference", 256, with_value)
    assert naive[1].peak > 15 * naive[0].peak  # the measure itself sees a square where there is one
    assert large.peak < naive[1].peak / 20


def test_peak_memory_of_split_grows_with_the_tokens_and_not_with_their_square(memory_of):
    small, large = peak_of(memory_of, "split", 64, True), peak_of(memory_of, "split", 256, True)
    assert large.peak < 4.5 * small.peak
    assert large.largest < 4 * 2048 * 2048 / 20


def test_errors_are_one_line():
    query = draw(1, 1, 4, 1, 8)
    grouped = {"query_offsets": (0, 4), "key_offsets": (0, 2, 4)}
    cases = [
        (RelationError, "expected query_offsets to rise", {"query_offsets": (0, 3)}),
        (RelationError, "without empty groups", {"key_offsets": (0, 2, 2, 4)}),
        (RelationError, r"shape \(1, 2\)", {"relation": torch.zeros(2, 2)}),
        (RelationError, "frame 0 that sees none", {"relation": torch.full((1, 2), -torch.inf)}),
        (RelationError, "got nan", {"relation": torch.tensor([[0.0, torch.nan]])}),
        (ValueError, "expected an implementation", {"implementation": "fastest"}),
        (ValueError, "only the mass is wanted", {"implementation": "split"}),
    ]
    for error, text, keywords in cases:
        with pytest.raises(error, match=text) as caught:
            frame_mass(query, query, **grouped | keywords)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="alike but for their tokens"):
        frame_mass(query, query[..., :4], **grouped)
    with pytest.raises(ValueError, match="gradients are needed"):
        frame_mass(query.requires_grad_(), query, query, implementation="split", **grouped)


def test_groups_far_above_the_first_are_merged_from_the_highest(monkeypatch):
    levels = []
    original = split._merge_at
    monkeypatch.setattr(
        split, "_merge_at", lambda level, *rest: levels.append(level) or original(level, *rest)
    )
    query, key = draw(1, 1, 6, 2, 8), draw(2, 1, 9, 2, 8)
    grouped = {"query_offsets": (0, 2, 6), "key_offsets": (0, 3, 6, 9)}
    for factor, passes in ((1.0, 1), (300.0, 2)):
        levels.clear()
        output, lse, mass = by_loops(factor * query, key, key, *grouped.values())
        found = frame_mass(factor * query, key, key, **grouped, implementation="split")
        assert len(levels) == passes
        torch.testing.assert_close(found.mass.double(), mass, rtol=0, atol=2e-5)
        torch.testing.assert_close(found.output.double(), output, rtol=0, atol=2e-4)
        torch.testing.assert_close(found.lse.double(), lse, rtol=1e-6, atol=1e-5)
        assert torch.isfinite(found.output).all()


@pytest.mark.parametrize("way", [*WAYS, "second_pass"])
def test_tensors_whose_heads_do_not_lie_side_by_side(way):
    query, key, value = (draw(seed, 1, 40, 8, 2).transpose(2, 3) for seed in (1, 2, 3))
    grouped = {"query_offsets": (0, 13, 40), "key_offsets": (0, 30, 40)}
    output, lse, mass = by_loops(query, key, value, *grouped.values())
    found = frame_mass(query, key, value, **grouped, implementation=way)
    torch.testing.assert_close(found.mass.double(), mass, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.lse.double(), lse, rtol=0, atol=5e-6)
    torch.testing.assert_close(found.output.double(), output, rtol=0, atol=5e-6)


def test_token_mass_does_not_run_another_way_than_asked_for():
    query = draw(1, 1, 6, 2, 8)
    with pytest.raises(ValueError, match="out of auto, chunked, kernel, got 'reference', in token_mass"):
        token_mass(query, query, query_offsets=(0, 6), key_offsets=(0, 6), implementation="reference")
