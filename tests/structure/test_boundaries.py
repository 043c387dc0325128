"""Checkerboard novelty, peaks, matching."""

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnscope.errors import InputError
from attnscope.structure import boundaries, boundary_error
from attnscope.structure.arrays import novelty as curves


def blocks(shot, contrast=8.0):
    shot = np.asarray(shot)
    mass = np.where(shot[:, None] == shot[None, :], contrast, 1.0)
    return mass / mass.sum(axis=-1, keepdims=True)


def novelty_by_loops(mass, half_width, *, normalised):
    num_frames = len(mass)
    both = (mass + mass.T) / 2
    if normalised:
        level = {d: np.mean([both[i, i + d] for i in range(num_frames - d)]) for d in range(num_frames)}
        both = np.array(
            [[both[i, j] / level[abs(i - j)] for j in range(num_frames)] for i in range(num_frames)]
        )
    curve = []
    for place in range(1, num_frames):
        left = range(max(0, place - half_width), place)
        right = range(place, min(num_frames, place + half_width))
        beside = [both[i, j] for side in (left, right) for i, j in combinations(side, 2)]
        across = [both[i, j] for i in left for j in right]
        b, a = np.mean(beside), np.mean(across)
        curve.append((b - a) / (b + a))
    return curve


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("half_width", [2, 3, 20])
def test_novelty_equals_loops(normalised, half_width):
    mass = np.random.default_rng(0).random((9, 9))
    found = curves.checkerboard_novelty(mass, half_width=half_width, distance_normalised=normalised)
    np.testing.assert_allclose(found, novelty_by_loops(mass, half_width, normalised=normalised), rtol=1e-10)


def test_four_frames_by_hand():
    mass = np.array([[4, 3, 1, 1], [3, 4, 1, 1], [1, 1, 4, 3], [1, 1, 3, 4.0]])
    found = curves.checkerboard_novelty(mass, half_width=2, distance_normalised=False)
    # middle: beside 3, across 1. Place 1: beside (1,2) = 1, across (0,1), (0,2) = 2. Place 3 mirrors it.
    np.testing.assert_allclose(found, [-1 / 3, 1 / 2, -1 / 3])


def test_blocks_are_found_where_they_are(dataset):
    shot = [0] * 5 + [1] * 4 + [2] * 6
    ds = dataset(blocks(shot), shot)
    for kwargs in (
        {},
        {"num": 2},
        {"num": "known"},
        {"distance_normalised": False},
        {"first_key_frame": False},
    ):
        found = boundaries(ds, **kwargs).squeeze()
        assert list(found.boundary[found.picked].values) == [5, 9], kwargs
    error = boundary_error(boundaries(ds), ds).squeeze()
    assert {name: float(error[name]) for name in error.data_vars} == {
        "precision": 1.0,
        "recall": 1.0,
        "f1": 1.0,
        "offset_frame": 0.0,
        "distance_frame": 0.0,
    }


def test_locality_suggests_no_cut(dataset, locality):
    ds = dataset(locality(21), [0] * 10 + [1] * 11)
    assert not boundaries(ds).picked.any()
    frame = np.arange(9)
    toeplitz = 0.5 ** np.abs(frame[:, None] - frame[None, :])
    np.testing.assert_allclose(curves.checkerboard_novelty(toeplitz), 0, atol=1e-12)


@pytest.mark.parametrize("normalised", [True, False])
def test_sink_on_the_first_frame_can_be_ignored(normalised):
    mass = blocks([0] * 4 + [1] * 4)
    sunk = mass.copy()
    sunk[1:, 0] = 0.9
    np.testing.assert_allclose(
        curves.checkerboard_novelty(sunk, first_key_frame=False, distance_normalised=normalised),
        curves.checkerboard_novelty(mass, first_key_frame=False, distance_normalised=normalised),
    )


def test_hard_mask_and_missing_maps(dataset):
    shot = [0, 0, 0, 1, 1, 1]
    hard = boundaries(dataset(blocks(shot, 1e30).round(6), shot)).squeeze()
    assert list(hard.boundary[hard.picked].values) == [3]
    torn = boundaries(dataset(np.full((6, 6), np.nan), shot)).squeeze()
    assert np.isnan(torn.novelty).all()
    assert not torn.picked.any()


def test_peaks_prefer_height_then_time():
    curve = np.array([0.5, 0.1, 0.9, 0.2, 0.5, 0.4])
    assert list(np.flatnonzero(curves.peaks(curve, num=2, threshold=0))) == [0, 2]
    assert list(np.flatnonzero(curves.peaks(curve, num=None, threshold=0.5))) == [0, 2, 4]
    assert not curves.peaks(curve, num=0, threshold=0).any()
    assert curves.peaks(curve, num=9, threshold=0).sum() == 3
    assert list(np.flatnonzero(curves.peaks(np.array([2.0, 2.0, 3.0]), num=9, threshold=0))) == [2]


def best_by_trying(found, true, tolerance):
    """Every assignment: most pairs, then least total distance."""
    best = (0, 0.0)
    small, large = sorted((list(found), list(true)), key=len)
    for chosen in permutations(large, len(small)):
        gaps = [abs(a - b) for a, b in zip(small, chosen, strict=True) if abs(a - b) <= tolerance]
        best = max(best, (len(gaps), -float(sum(gaps))))
    return best


@settings(deadline=None, max_examples=60)
@given(st.sets(st.integers(1, 12), max_size=4), st.sets(st.integers(1, 12), max_size=4), st.integers(0, 5))
def test_matching_equals_trying_everything(found, true, tolerance):
    at, cut = curves.match_pairs(np.array(sorted(found), int), np.array(sorted(true), int), tolerance)
    assert (len(at), -float(np.abs(at - cut).sum())) == best_by_trying(found, true, tolerance)


def test_error_by_hand():
    picked, is_cut = np.zeros(11, bool), np.zeros(11, bool)
    picked[[3, 7, 9]] = True  # places 4, 8, 10
    is_cut[[2, 8]] = True  # places 3, 9
    np.testing.assert_allclose(curves.boundary_error(picked, is_cut, 0), [0, 0, 0, np.nan, np.nan])
    # 4 with 3 (late by one), 9 with 8 or 10
    found = curves.boundary_error(picked, is_cut, 1)
    np.testing.assert_allclose(found[:3], [2 / 3, 1, 4 / 5])
    assert found[4] == 1
    assert abs(found[3]) in (0, 1)
    nothing = np.zeros(11, bool)
    np.testing.assert_allclose(curves.boundary_error(nothing, is_cut, 1)[:3], [np.nan, 0, 0])
    np.testing.assert_allclose(curves.boundary_error(picked, nothing, 1)[:3], [0, np.nan, 0])


def test_each_prompt_is_compared_with_its_own_cuts(dataset):
    shots = np.array([[0, 0, 0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1, 1, 1]])
    mass = np.stack([blocks(shots[0]), blocks(shots[0])])[:, None, None, None, None]
    ds = dataset(mass, shots)
    found = boundaries(ds, num="known")
    assert list(boundary_error(found, ds).recall.values.ravel()) == [1, 0]
    assert list(boundary_error(found, ds, tolerance_frame=2).offset_frame.values.ravel()) == [0, -2]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"kernel": 1}, "expected a half-width of at least 2"),
        ({"num": -1}, "expected a number of cuts"),
        ({"num": "many"}, "expected a number of cuts, 'known' or None, got 'many'"),
    ],
)
def test_wrong_arguments_are_refused(two_shots, kwargs, message):
    with pytest.raises(InputError, match=message):
        boundaries(two_shots, **kwargs)
