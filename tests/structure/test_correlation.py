"""correlation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from attnscope.structure import correlation
from attnscope.structure.arrays import pearson


def pearson_by_loops(mass, shot, *, diagonal=False, remove=None):
    """Lists of pairs, group means by dictionary, scipy for r."""
    pairs = [(i, j) for i in range(len(shot)) for j in range(len(shot)) if diagonal or i != j]
    x = [float(mass[i, j]) for i, j in pairs]
    y = [float(shot[i] == shot[j]) for i, j in pairs]
    if remove is not None:
        groups = [remove(i, j) for i, j in pairs]
        for values in (x, y):
            mean = {
                g: np.mean([v for v, h in zip(values, groups, strict=True) if h == g]) for g in set(groups)
            }
            values[:] = [v - mean[g] for v, g in zip(values, groups, strict=True)]
    return stats.pearsonr(x, y).statistic


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("removed", [False, True])
def test_r_equals_scipy_on_lists(random_maps, diagonal, removed):
    found = correlation(random_maps, over=(), diagonal=diagonal, distance_removed=removed)
    assert found.dims == ("prompt", "step", "branch", "layer", "head")
    for prompt in range(2):
        shot = random_maps.query_shot.values[prompt]
        for layer in range(2):
            mass = random_maps.mass.values[prompt, 0, 0, layer, 1]
            expected = pearson_by_loops(
                mass, shot, diagonal=diagonal, remove=(lambda i, j: abs(i - j)) if removed else None
            )
            assert float(found[prompt, 0, 0, layer, 1]) == pytest.approx(expected, rel=1e-10)


def test_signed_distance_would_leave_the_numerator_alone(random_maps):
    mass, shot = random_maps.mass.values[0, 0, 0, 0, 0].astype(float), random_maps.query_shot.values[0]
    products = []
    for lag in (lambda i, j: abs(i - j), lambda i, j: i - j):
        pairs = [(i, j) for i in range(7) for j in range(7) if i != j]
        x, y = (np.array([v[p] for p in pairs], float) for v in (mass, shot[:, None] == shot[None, :]))
        groups = np.array([lag(*p) for p in pairs])
        for g in np.unique(groups):
            x[groups == g] -= x[groups == g].mean()
            y[groups == g] -= y[groups == g].mean()
        products.append(x @ y)
    assert products[0] == pytest.approx(products[1], rel=1e-12)


def test_blocks_have_r_one(dataset):
    shot = np.array([0] * 5 + [1] * 6)
    mass = np.where(shot[:, None] == shot[None, :], 10.0, 1.0)
    assert float(correlation(dataset(mass / mass.max(), shot)).squeeze()) == pytest.approx(1.0)


def test_locality_alone_has_high_r_but_none_once_distance_is_removed(dataset, locality):
    """Every cut place once: the mean over false cuts. Raw r is high for all of them, so it proves nothing."""
    cuts = np.arange(1, 21)
    shots = (np.arange(21)[None, :] >= cuts[:, None]).astype(int)
    ds = dataset(np.broadcast_to(locality(21), (20, 1, 1, 1, 1, 21, 21)), shots)
    raw, removed = correlation(ds).squeeze(), correlation(ds, distance_removed=True).squeeze()
    assert 0.55 < float(raw[9]) < 0.65
    assert 0.3 < float(raw.mean()) < 0.5
    assert abs(float(removed.mean())) < 0.03


def test_what_is_left_of_locality_peaks_in_the_middle(dataset, locality):
    """Known weakness, in the docstring: rows sum to one, so frames at the ends keep more for their neighbours."""
    left = [
        float(correlation(dataset(locality(21), np.arange(21) >= cut), distance_removed=True).squeeze())
        for cut in (1, 10)
    ]
    assert -0.3 < left[0] < -0.2
    assert 0.15 < left[1] < 0.25


def test_locality_without_edges_has_exactly_no_distance_removed_r(dataset):
    frame = np.arange(12)
    mass = 0.7 ** np.abs(frame[:, None] - frame[None, :]) + np.zeros((12, 12))
    found = correlation(dataset(mass, frame >= 5), distance_removed=True).squeeze()
    assert np.isnan(float(found)) or abs(float(found)) < 1e-3


def test_nan_where_nothing_can_be_said(random_maps, dataset):
    shots = random_maps.query_shot.copy()
    shots[0], shots[1] = 0, -1
    assert np.isnan(correlation(random_maps.assign_coords(query_shot=shots))).all()
    # half a plan is no plan
    assert np.isnan(correlation(dataset(np.arange(16.0).reshape(4, 4), [-1, -1, 0, 0]))).all()
    assert np.isnan(correlation(dataset(np.full((5, 5), 0.2), [0, 0, 1, 1, 1]))).all()
    assert np.isnan(correlation(dataset(np.eye(3) + 0.1, [0, 1, 2]))).all()
    assert np.isnan(correlation(dataset(np.full((2, 2), 0.5), [0, 1]))).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(0.01, 100.0), st.floats(-5.0, 5.0))
def test_scale_offset_and_order_of_heads_do_not_matter(seed, scale, offset):
    generator = np.random.default_rng(seed)
    num_frames = int(generator.integers(4, 9))
    shot = np.cumsum(np.r_[0, generator.integers(0, 2, num_frames - 1)])
    mass = generator.random((4, num_frames, num_frames))
    order = generator.permutation(4)
    for removed in (False, True):
        plain = pearson.correlation(mass, shot, distance_removed=removed)
        other = pearson.correlation((mass * scale + offset)[order], shot, distance_removed=removed)
        np.testing.assert_allclose(other, plain[order], atol=1e-7)
        assert np.isnan(plain).all() or (np.abs(plain) <= 1 + 1e-12).all()
