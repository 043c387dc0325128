"""The Triton kernels, in Triton's interpreter on the CPU or on a GPU, against the definition in float64."""

from __future__ import annotations

import itertools
import math

import hypothesis.strategies as st
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings

from attnscope_kernels import frame_mass, shot_attention, token_mass
from attnscope_kernels._relation import check_relation
from attnscope_kernels._settings import INTERPRETED, is_interpreted
from attnscope_kernels._tiles import tile_table
from attnscope_kernels.mass.launch import mass_given_lse

pytest.importorskip("triton")
DEVICE = "cpu" if is_interpreted() else "cuda"
HALF = {torch.float16: 1e-3, torch.bfloat16: 1e-2}


@pytest.fixture(autouse=True)
def poison():
    """Fill what is allocated and not written with NaN, so that a forgotten row shows."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


def draw(seed, *shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).to(DEVICE)


def offsets(lengths):
    return tuple(itertools.accumulate(lengths, initial=0))


def dense(query, key, value, rows, groups, relation, gradient):
    """Output, gradients, mass and log-sum-exp by the definition, in float64, sharing no code with the package."""
    q, k, v = (t.detach().double().requires_grad_() for t in (query, key, value))
    of_row = torch.repeat_interleave(torch.arange(len(rows) - 1), torch.tensor(rows).diff()).to(DEVICE)
    of_key = torch.repeat_interleave(torch.arange(len(groups) - 1), torch.tensor(groups).diff()).to(DEVICE)
    scores = torch.einsum("bnhd,bmhd->bhnm", q, k) / math.sqrt(q.shape[-1])
    scores = scores + relation.double().to(DEVICE)[..., of_row, :][..., of_key]
    pattern = scores.softmax(-1)
    output = torch.einsum("bhnm,bmhd->bnhd", pattern, v)
    output.backward(gradient.double())
    columns = torch.stack([pattern[..., of_key == g].sum(-1) for g in range(len(groups) - 1)], -1)
    mass = torch.stack([columns[..., of_row == f, :].mean(-2) for f in range(len(rows) - 1)], -2)
    return output.detach(), [q.grad, k.grad, v.grad], mass.detach(), scores.logsumexp(-1).detach()


def relation_of(kind, seed, rows, groups):
    """A relation of each sort that attnscope makes."""
    num_rows, num_groups = len(rows) - 1, len(groups) - 1
    generator = torch.Generator().manual_seed(seed)
    bias = torch.zeros(num_rows, num_groups, dtype=torch.float64)
    if kind == "whole":
        return bias
    if kind == "random":
        bias = torch.randn(2, 2, num_rows, num_groups, generator=generator, dtype=torch.float64)
        bias[torch.rand(bias.shape, generator=generator) < 0.4] = -torch.inf
        bias[..., seed % num_groups] = math.log(2)
        return bias
    if kind == "distance":
        return -0.7 * (torch.arange(num_rows)[:, None] - torch.arange(num_groups)).abs().double()
    shot = torch.arange(max(num_rows, num_groups)) // 2
    hidden = shot[:num_rows, None] != shot[None, :num_groups]
    if kind == "shots and first frame":
        hidden[:, 0] = False
    hidden[hidden.all(1), 0] = False
    return bias.masked_fill(hidden, -torch.inf)


KINDS = ("whole", "shots", "shots and first frame", "distance", "random")
lengths = st.lists(st.sampled_from([1, 3, 7, 32, 45]), min_size=1, max_size=4)


@settings(max_examples=12, deadline=None)
@given(
    rows=lengths,
    groups=lengths,
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 99),
    size=st.sampled_from([8, 24, 32]),
    dtype=st.sampled_from([torch.float32, torch.float32, torch.bfloat16, torch.float16]),
)
def test_equals_the_definition(rows, groups, kind, seed, size, dtype):
    rows, groups = offsets(rows), offsets(groups)
    relation = relation_of(kind, seed, rows, groups)
    shapes = ((2, n, 2, size) for n in (rows[-1], groups[-1], groups[-1], rows[-1]))
    *tensors, gradient = (draw(seed + i, *shape, dtype=dtype) for i, shape in enumerate(shapes))
    output, gradients, mass, lse = dense(*tensors, rows, groups, relation, gradient)
    grouped = {"query_offsets": rows, "key_offsets": groups}
    tensors = [tensor.requires_grad_() for tensor in tensors]
    found, found_lse = shot_attention(*tensors, relation, **grouped, with_lse=True, implementation="kernel")
    found.backward(gradient)
    # relative to the size of what is compared
    # a lone key has gradients of 0, sums over the rows of what cancels
    near = HALF.get(dtype, 5e-6 if groups[-1] == 1 else 2e-6)
    for one, expected in zip(
        (found, *(tensor.grad for tensor in tensors)), (output, *gradients), strict=True
    ):
        torch.testing.assert_close(
            one.double(), expected, rtol=0, atol=near * max(1.0, float(expected.abs().max()))
        )
    torch.testing.assert_close(found_lse.double(), lse, rtol=0, atol=1e-5)
    with torch.no_grad():
        measured = frame_mass(*tensors, relation=relation, **grouped, implementation="kernel")
        looked = frame_mass(*tensors[:2], relation=relation, **grouped, implementation="kernel")
        token = token_mass(*tensors[:2], relation=relation, **grouped, implementation="kernel")
        given_lse = mass_given_lse(
            *tensors[:2], found_lse, rows, groups, size**-0.5, checked(relation, rows, groups)
        )
    torch.testing.assert_close(measured.output, found, rtol=0, atol=near)
    for masses in (measured.mass, looked.mass, given_lse):
        torch.testing.assert_close(masses.double(), mass, rtol=0, atol=2e-6)
        torch.testing.assert_close(masses.sum(-1), torch.ones_like(masses[..., 0]), rtol=0, atol=1e-5)
        assert (masses[torch.isneginf(relation.expand(*masses.shape)).to(DEVICE)] == 0).all()
    torch.testing.assert_close(token.mass.sum(-1), torch.ones_like(token.lse), rtol=0, atol=1e-5)
    first = token.mass[..., : rows[1], :].mean(-2).double()
    torch.testing.assert_close(first, mass[..., 0, :], rtol=0, atol=2e-6)


def checked(relation, rows, groups):
    return check_relation(relation, 2, 2, len(rows) - 1, len(groups) - 1)


def test_the_second_pass_measures_what_another_kernel_attended():
    if DEVICE == "cuda":
        pytest.skip("the fused call on CUDA takes 16-bit tensors; kernels/benchmarks compares it there")
    query, key, value = (draw(seed, 2, n, 2, 16) for seed, n in ((1, 50), (2, 70), (3, 70)))
    grouped = {"query_offsets": (0, 33, 50), "key_offsets": (0, 5, 40, 70)}
    found = frame_mass(query, key, value, **grouped, implementation="second_pass")
    output, _, mass, lse = dense(
        query, key, value, *grouped.values(), torch.zeros(2, 3), torch.zeros_like(query)
    )
    torch.testing.assert_close(found.mass.double(), mass, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.lse.double(), lse, rtol=0, atol=5e-6)
    torch.testing.assert_close(found.output.double(), output, rtol=0, atol=1e-6)


def test_hidden_keys_do_not_leak_and_get_no_gradient():
    tensors = [draw(seed, 1, 80, 2, 16) for seed in (1, 2, 3)]
    for tensor in tensors[1:]:
        tensor[:, 37:] = torch.nan
    tensors = [tensor.requires_grad_() for tensor in tensors]
    relation = torch.tensor([[0.0, -torch.inf], [-1.0, -torch.inf]])
    grouped = {"query_offsets": (0, 41, 80), "key_offsets": (0, 37, 80)}
    output = shot_attention(*tensors, relation, **grouped, implementation="kernel")
    output.square().sum().backward()
    assert torch.isfinite(output).all()
    assert torch.isfinite(tensors[0].grad).all()
    for tensor in tensors[1:]:
        assert (tensor.grad[:, 37:] == 0).all()
        assert tensor.grad[:, :37].abs().min() > 0
    with torch.no_grad():
        mass = frame_mass(*tensors, relation=relation, **grouped, implementation="kernel").mass
    assert mass[0, 0].tolist() == [[1.0, 0.0], [1.0, 0.0]]


def test_queries_in_views_that_are_not_contiguous():
    packed = draw(1, 2, 3, 2, 40, 3, 16)  # as a fused projection leaves q, k and v
    query, key, value = (packed[:, i, :, :, 1].transpose(1, 2)[..., ::1] for i in range(3))
    strided = packed[:, 0, :, :, 1].transpose(1, 2).mT.contiguous().mT
    grouped = {"query_offsets": (0, 20, 40), "key_offsets": (0, 40)}
    relation = torch.zeros(2, 1)
    for asked in (query, strided):
        found = shot_attention(asked, key, value, relation, **grouped, implementation="kernel")
        plain = F.scaled_dot_product_attention(*(t.transpose(1, 2) for t in (asked, key, value)))
        torch.testing.assert_close(found, plain.transpose(1, 2), rtol=0, atol=1e-6)


def test_the_same_input_gives_the_same_bits():
    def run():
        tensors = [draw(seed, 1, 70, 2, 16).requires_grad_() for seed in (1, 2, 3)]
        relation = relation_of("distance", 0, (0, 30, 70), (0, 30, 70))
        output = shot_attention(
            *tensors, relation, query_offsets=(0, 30, 70), key_offsets=(0, 30, 70), implementation="kernel"
        )
        output.square().sum().backward()
        return [output.detach(), *(tensor.grad for tensor in tensors)]

    for one, other in zip(run(), run(), strict=True):
        assert torch.equal(one, other)


def test_half_precision_is_as_near_as_pytorch_gets():
    query, key, value = (draw(seed, 1, 128, 2, 32, dtype=torch.bfloat16) for seed in (1, 2, 3))
    exact = dense(query, key, value, (0, 128), (0, 128), torch.zeros(1, 1), torch.zeros_like(query))[0]
    plain = F.scaled_dot_product_attention(*(t.transpose(1, 2) for t in (query, key, value))).transpose(1, 2)
    found = shot_attention(
        query,
        key,
        value,
        torch.zeros(1, 1),
        query_offsets=(0, 128),
        key_offsets=(0, 128),
        implementation="kernel",
    )
    assert (found - exact).abs().max() <= 1.5 * (plain - exact).abs().max()


def test_tables_hold_exactly_the_visible_pairs():
    rows, groups = (0, 40, 45, 100), (0, 40, 45, 100, 110)
    relation = torch.tensor([[0, -1, -torch.inf, 0], [0, -1, -torch.inf, 0], [-torch.inf, 0, 0, 0.5]])[
        None, None
    ]
    for separate in (False, True):
        table = tile_table(
            relation.double(),
            rows,
            groups,
            batch=2,
            num_heads=3,
            block_rows=16,
            block_columns=8,
            separate_groups=separate,
            device=torch.device("cpu"),
        )
        seen = torch.full((100, 110), -torch.inf)
        for row, stop, first, last in table.tiles.tolist():
            assert 0 < stop - row <= 16
            for (start, end, group, is_last), bias in zip(
                table.entries[first:last].tolist(), table.bias[first:last].tolist(), strict=True
            ):
                assert 0 < end - start <= 8
                assert torch.isneginf(seen[row:stop, start:end]).all()  # no pair is walked twice
                seen[row:stop, start:end] = bias / math.log2(math.e)
                assert is_last == (end == groups[group + 1])
        of_row = torch.tensor(rows).diff()
        of_key = torch.tensor(groups).diff()
        expected = relation[0, 0].repeat_interleave(of_row, 0).repeat_interleave(of_key, 1)
        torch.testing.assert_close(seen, expected, rtol=0, atol=1e-6)
        assert table.part.tolist() == [0] * 6
    merged = table.num_pairs
    assert merged > 0


def test_cost_follows_the_visible_pairs():
    steps = tuple(range(0, 641, 32))
    shots = torch.arange(20) // 5
    hard = torch.zeros(20, 20, dtype=torch.float64).masked_fill(shots[:, None] != shots, -torch.inf)
    pairs = [
        tile_table(
            relation[None, None],
            steps,
            steps,
            batch=1,
            num_heads=1,
            block_rows=32,
            block_columns=32,
            separate_groups=False,
            device=torch.device("cpu"),
        ).num_pairs
        for relation in (torch.zeros_like(hard), hard)
    ]
    assert pairs == [400, 100]


def test_each_head_and_entry_has_the_relation_it_was_given():
    relation = torch.zeros(2, 2, 1, 2)
    relation[1, 0, 0, 1] = -torch.inf
    table = tile_table(
        relation.double(),
        (0, 4),
        (0, 2, 4),
        batch=2,
        num_heads=2,
        block_rows=16,
        block_columns=16,
        separate_groups=True,
        device=torch.device("cpu"),
    )
    assert table.part.tolist() == [0, 0, 1, 0]
    assert table.bounds.tolist() == [0, 1, 2]


def test_this_file_runs_several_tiles():
    # 45 tokens a frame and more are more than one tile in the interpreter, or the loops above were not tested
    if is_interpreted():
        assert max(INTERPRETED.rows, INTERPRETED.columns) < 45
