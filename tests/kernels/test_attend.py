"""Attention under a frame relation against the dense formula: values, gradients, memory, leaks."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings

from attnscope_kernels import RelationError, shot_attention


def draw(seed, *shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def densely_masked(query, key, value, rows, groups, bias):
    """PyTorch's own attention with a dense additive mask."""
    of_row = torch.cat([torch.full((b - a,), f) for f, (a, b) in enumerate(itertools.pairwise(rows))])
    of_key = torch.cat([torch.full((b - a,), g) for g, (a, b) in enumerate(itertools.pairwise(groups))])
    mask = bias[..., of_row, :][..., of_key].to(query.dtype)
    q, k, v = (tensor.transpose(1, 2) for tensor in (query, key, value))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)


lengths = st.lists(st.integers(1, 4), min_size=2, max_size=4)


@settings(max_examples=25, deadline=None)
@given(rows=lengths, groups=lengths, seed=st.integers(0, 99), shape=st.sampled_from(["", "h", "bh"]))
def test_equals_dense_masking_in_value_and_gradient(rows, groups, seed, shape):
    rows = tuple(itertools.accumulate(rows, initial=0))
    groups = tuple(itertools.accumulate(groups, initial=0))
    before = {"": (), "h": (3,), "bh": (2, 3)}[shape]
    bias = draw(seed, *before, len(rows) - 1, len(groups) - 1, dtype=torch.float64)
    bias[bias > 0.6] = -torch.inf
    bias[..., 0] = 0.0
    grads = []
    for attend in (
        lambda *t: shot_attention(*t, bias, query_offsets=rows, key_offsets=groups),
        lambda *t: shot_attention(
            *t, bias, query_offsets=rows, key_offsets=groups, implementation="reference"
        ),
        lambda *t: shot_attention(*t, bias, query_offsets=rows, key_offsets=groups, implementation="short"),
        lambda *t: shot_attention(*t, bias, query_offsets=rows, key_offsets=groups, implementation="split"),
        lambda *t: densely_masked(*t, rows, groups, bias),
    ):
        tensors = [
            draw(seed + i, 2, n, 3, 8, dtype=torch.float64)
            for i, n in enumerate((rows[-1], groups[-1], groups[-1]))
        ]
        tensors = [tensor.requires_grad_() for tensor in tensors]
        output = attend(*tensors)
        output.square().sum().backward()
        grads.append([output.detach(), *(tensor.grad for tensor in tensors)])
    for other in grads[:-1]:
        for one, expected in zip(other, grads[-1], strict=True):
            torch.testing.assert_close(one, expected, rtol=0, atol=1e-12)


def test_block_diagonal_is_each_shot_alone():
    query, key, value = (draw(seed, 1, 12, 2, 8) for seed in (1, 2, 3))
    same = torch.block_diag(torch.ones(2, 2), torch.ones(1, 1)).bool()
    found = shot_attention(
        query,
        key,
        value,
        same,
        query_offsets=(0, 4, 8, 12),
        key_offsets=(0, 4, 8, 12),
        implementation="split",
    )
    for span in (slice(0, 8), slice(8, 12)):
        q, k, v = (tensor[:, span].transpose(1, 2) for tensor in (query, key, value))
        alone = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        torch.testing.assert_close(found[:, span], alone, rtol=0, atol=0)


def test_heads_that_share_a_relation_are_computed_together_and_put_back_in_order():
    query, key, value = (draw(seed, 2, 6, 3, 8) for seed in (1, 2, 3))
    bias = torch.zeros(3, 2, 2)
    bias[1, 0, 1] = -torch.inf
    found = shot_attention(query, key, value, bias, query_offsets=(0, 2, 6), key_offsets=(0, 3, 6))
    expected = densely_masked(query, key, value, (0, 2, 6), (0, 3, 6), bias)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_frames_that_see_the_same_are_one_call(monkeypatch):
    calls = []
    original = F.scaled_dot_product_attention

    def counted(q, k, v, **rest):
        calls.append((q.shape[2], k.shape[2]))
        return original(q, k, v, **rest)

    monkeypatch.setattr(F, "scaled_dot_product_attention", counted)
    same = torch.block_diag(torch.ones(3, 3), torch.ones(2, 2)).bool()
    same[:, 0] = True
    query, steps = draw(1, 1, 20, 2, 8), (0, 4, 8, 12, 16, 20)
    shot_attention(query, query, query, same, query_offsets=steps, key_offsets=steps, implementation="split")
    assert calls == [(12, 12), (8, 12)]  # queries of a shot, and keys of the shot and of the first frame


def test_outputs_of_shots_are_kept_once():
    """What is kept for the gradient is the output that is handed on, and no second one of each shot."""
    query, key, value = (draw(seed, 1, 20, 2, 8).requires_grad_() for seed in (1, 2, 3))
    same = torch.block_diag(torch.ones(3, 3), torch.ones(2, 2)).bool()
    steps, kept = (0, 4, 8, 12, 16, 20), []
    with torch.autograd.graph.saved_tensors_hooks(lambda each: kept.append(each) or each, lambda each: each):
        shot_attention(
            query, key, value, same, query_offsets=steps, key_offsets=steps, implementation="split"
        )
    sizes = sorted(each.numel() for each in kept)
    assert sizes == [2 * 8, 2 * 12, *[2 * 8 * 20] * 4]  # sums of two shots, query, key, value and output


@pytest.mark.parametrize("heads", [1, 3])
def test_texts_of_videos_that_differ_are_one_call(monkeypatch, heads):
    """Films of a batch with captions of their own: all queries of a film see alike, hidden tokens hold no numbers."""
    rows, groups = (0, 3, 5), (0, 1, 2, 4, 5)
    query, key, value = (draw(seed, 2, n, 3, 8, dtype=torch.float64) for seed, n in ((1, 5), (2, 5), (3, 5)))
    bias = draw(4, 2, heads, 1, 4, dtype=torch.float64)
    bias[1, :, :, 3] = -torch.inf
    relation = bias.expand(2, heads, 2, 4)
    expected = densely_masked(query, key, value, rows, groups, relation)
    key, value = key.clone(), value.clone()
    key[1, 4], value[1, 4] = torch.nan, torch.inf
    calls = []
    plain = F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *t, **o: calls.append(t) or plain(*t, **o))
    tensors = [tensor.requires_grad_() for tensor in (query, key, value)]
    found = shot_attention(*tensors, relation, query_offsets=rows, key_offsets=groups, implementation="split")
    found.square().sum().backward()
    assert len(calls) == 1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert all(bool(torch.isfinite(tensor.grad).all()) for tensor in tensors)
    assert float(key.grad[1, 4].abs().max()) == float(value.grad[1, 4].abs().max()) == 0


def test_hidden_keys_have_no_gradient_and_do_not_leak():
    tensors = [draw(seed, 1, 8, 2, 8) for seed in (1, 2, 3)]
    tensors[1][:, 4:], tensors[2][:, 4:] = torch.nan, torch.nan
    tensors = [tensor.requires_grad_() for tensor in tensors]
    bias = torch.tensor([[0.0, -torch.inf], [0.0, -torch.inf]])
    output = shot_attention(
        *tensors, bias, query_offsets=(0, 4, 8), key_offsets=(0, 4, 8), implementation="split"
    )
    output.sum().backward()
    assert torch.isfinite(output).all()
    assert (tensors[1].grad[:, 4:] == 0).all()
    assert (tensors[2].grad[:, 4:] == 0).all()


def test_errors_are_one_line():
    query = draw(1, 1, 4, 1, 8)
    keywords = {"query_offsets": (0, 2, 4), "key_offsets": (0, 2, 4)}
    hidden = torch.tensor([[True, True], [False, False]])
    with pytest.raises(RelationError, match="frame 1 that sees none") as caught:
        shot_attention(query, query, query, hidden, **keywords)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="expected an implementation out of auto, reference, short"):
        shot_attention(query, query, query, torch.zeros(2, 2), implementation="fast", **keywords)


@settings(max_examples=10, deadline=None)
@given(rows=lengths, groups=lengths, seed=st.integers(0, 99))
def test_scores_scaled_by_the_largest_of_the_row_equal_their_definition(rows, groups, seed):
    """VSTAR: what is added is so many times the row's own largest score."""
    rows = tuple(itertools.accumulate(rows, initial=0))
    groups = tuple(itertools.accumulate(groups, initial=0))
    content = draw(seed + 7, len(rows) - 1, len(groups) - 1, dtype=torch.float64)
    relation = draw(seed + 8, len(rows) - 1, len(groups) - 1, dtype=torch.float64)
    relation[relation > 0.6] = -torch.inf
    relation[:, 0] = 0.0
    grads = []
    for way in ("chunked", "reference", "by hand"):
        tensors = [
            draw(seed + i, 1, n, 2, 8, dtype=torch.float64).requires_grad_()
            for i, n in enumerate((rows[-1], groups[-1], groups[-1]))
        ]
        if way == "by hand":
            output = []
            for i in range(rows[-1]):
                f = next(f for f in range(len(rows) - 1) if rows[f] <= i < rows[f + 1])
                seen = [
                    j
                    for g in range(len(groups) - 1)
                    for j in range(groups[g], groups[g + 1])
                    if relation[f, g] > -torch.inf
                ]
                g_of = [
                    next(g for g in range(len(groups) - 1) if groups[g] <= j < groups[g + 1]) for j in seen
                ]
                score = torch.einsum("hd,mhd->hm", tensors[0][0, i], tensors[1][0, seen]) / 8**0.5
                score = score + content[f, g_of] * score.amax(-1, keepdim=True) + relation[f, g_of]
                output.append(torch.einsum("hm,mhd->hd", score.softmax(-1), tensors[2][0, seen]))
            output = torch.stack(output)[None]
        else:
            output = shot_attention(
                *tensors,
                relation,
                query_offsets=rows,
                key_offsets=groups,
                content=content,
                implementation=way,
            )
        output.square().sum().backward()
        grads.append([output.detach(), *(tensor.grad for tensor in tensors)])
    for other in grads[:2]:
        for one, expected in zip(other, grads[2], strict=True):
            torch.testing.assert_close(one, expected, rtol=0, atol=1e-12)


def test_content_of_the_wrong_shape_is_refused():
    query = draw(1, 1, 4, 1, 8)
    for content in (torch.zeros(1, 2), torch.full((2, 2), torch.inf)):
        with pytest.raises(RelationError, match=r"expected finite content of shape \(2, 2\)"):
            shot_attention(
                query,
                query,
                query,
                torch.zeros(2, 2),
                query_offsets=(0, 2, 4),
                key_offsets=(0, 2, 4),
                content=content,
            )


@pytest.mark.parametrize("way", ["reference", "split", "chunked", "kernel"])
def test_the_log_sum_exp_is_that_of_the_visible_scores(way):
    query, key, value = (draw(seed, 2, 6, 3, 8) for seed in (1, 2, 3))
    relation = draw(4, 3, 2, 2).double()
    relation[1, 0, 1] = -torch.inf
    relation[2] = -0.5  # as much for everybody: no mask, but the log-sum-exp knows
    grouped = {"query_offsets": (0, 2, 6), "key_offsets": (0, 3, 6)}
    _, lse = shot_attention(query, key, value, relation, **grouped, with_lse=True, implementation=way)
    scores = torch.einsum("bnhd,bmhd->bhnm", query, key) / 8**0.5
    scores += relation.float()[:, [0, 0, 1, 1, 1, 1]][..., [0, 0, 0, 1, 1, 1]]
    torch.testing.assert_close(lse, scores.logsumexp(-1), rtol=0, atol=5e-6)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("kind", ["shots", "soft"])
def test_peak_memory_grows_with_the_tokens_and_not_with_their_square(memory_of, kind, backward):
    def peak(tokens_a_frame, way):
        steps = tuple(range(0, 8 * tokens_a_frame + 1, tokens_a_frame))
        tensors = [draw(seed, 1, steps[-1], 2, 16).requires_grad_(backward) for seed in (1, 2, 3)]
        relation = torch.block_diag(torch.ones(3, 3), torch.ones(5, 5)).log()
        relation = relation.clamp_min(-2.0) if kind == "soft" else relation
        with memory_of() as memory:
            output = shot_attention(
                *tensors, relation, query_offsets=steps, key_offsets=steps, implementation=way
            )
            if backward:
                output.sum().backward()
        return memory.largest

    assert peak(256, "split") <= 4.1 * peak(64, "split")
    assert peak(256, "split") < 4 * 2048**2 / 10
    assert peak(256, "reference") > 15 * peak(64, "reference")  # the measure sees a square where there is one


WAYS = ("reference", "short", "split", "chunked", "kernel")


@pytest.mark.parametrize("way", WAYS)
def test_tensors_whose_heads_do_not_lie_side_by_side(way):
    tensors = [draw(seed, 1, 32, 8, 2).transpose(2, 3) for seed in (1, 2)]
    tensors.append(draw(3, 1, 32, 2, 1).expand(1, 32, 2, 8))
    assert [tensor.stride(-1) for tensor in tensors] == [2, 2, 0]
    grouped = {"query_offsets": (0, 20, 32), "key_offsets": (0, 20, 32), "implementation": way}
    relation = torch.tensor([[0.0, -torch.inf], [-1.0, 0.0]])
    found = shot_attention(*tensors, relation, **grouped)
    expected = densely_masked(*(t.contiguous() for t in tensors), (0, 20, 32), (0, 20, 32), relation)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    if way != "short":
        again, lse = shot_attention(*tensors, relation, **grouped, with_lse=True)
        torch.testing.assert_close(again, expected, rtol=0, atol=1e-6)
        assert torch.isfinite(lse).all()


@pytest.mark.parametrize("way", WAYS)
def test_what_is_added_to_a_whole_row_changes_nothing_in_16_bits(way):
    tensors = [draw(seed, 1, 32, 2, 16, dtype=torch.bfloat16) for seed in (1, 2, 3)]
    grouped = {"query_offsets": (0, 20, 32), "key_offsets": (0, 20, 32)}
    relation = torch.tensor([[100.3, 101.1], [-5000.0, -5001.0]], dtype=torch.float64)
    found = shot_attention(*tensors, relation, **grouped, implementation=way).double()
    exact = shot_attention(*(t.double() for t in tensors), relation, **grouped, implementation="reference")
    assert (found - exact).abs().max() <= 1e-2 * exact.abs().max()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"scale": 0.0}, "expected a finite scale above 0, got 0"),
        ({"scale": -1.0}, "expected a finite scale above 0, got -1"),
        ({"scale": float("nan")}, "got nan"),
        ({"relation": torch.eye(2).long()}, "bools or floating-point numbers, got torch.int64"),
        ({"relation": [[0.0, 0.0], [0.0, 0.0]]}, "got list"),
        ({"relation": torch.full((2, 2), torch.finfo(torch.float32).min)}, "write -inf for hidden"),
        ({"query": torch.zeros(1, 0, 1, 8)}, "with something in them"),
        ({"query": torch.zeros(1, 4, 1, 8, dtype=torch.int64)}, "of one type on one device"),
        ({"key": torch.zeros(1, 4, 1, 8, device="meta")}, "float32 on meta"),
        ({"key": torch.zeros(1, 4, 1, 8, dtype=torch.float16)}, "torch.float16 on cpu"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(change, text):
    one = torch.zeros(1, 4, 1, 8)
    given = {"query": one, "key": one, "value": one, "relation": torch.zeros(2, 2)} | change
    with pytest.raises(ValueError, match=text) as caught:
        shot_attention(**given, query_offsets=(0, 2, 4), key_offsets=(0, 2, 4))
    assert "\n" not in str(caught.value)
