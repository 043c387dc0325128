"""contrast, pooled_contrast, lag_matched_contrast, own_shot_mass, first_frame_sink."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from attnscope.errors import InputError, SchemaError, ShotPlanError
from attnscope.structure import (
    contrast,
    distance_only_contrast,
    first_frame_sink,
    lag_matched_contrast,
    mean_map,
    own_shot_mass,
    pooled_contrast,
)
from attnscope.structure.arrays import pair_means

FRAMES = ("query_frame", "key_frame")


def by_hand(mass, shot, admit):
    """Two plain loops."""
    intra, inter = [], []
    for i in range(len(shot)):
        for j in range(len(shot)):
            if admit(i, j):
                (intra if shot[i] == shot[j] else inter).append(float(mass[i, j]))
    return intra, inter


def maps_of(ds):
    for prompt in range(ds.sizes["prompt"]):
        shot = ds.query_shot.isel(prompt=prompt) if "prompt" in ds.query_shot.dims else ds.query_shot
        stacked = ds.mass.isel(prompt=prompt).stack(one=("step", "branch", "layer", "head"))
        for one in range(stacked.sizes["one"]):
            yield stacked.isel(one=one).values, shot.values


def test_four_frames_by_hand(two_shots):
    # inside: 40 30 20 50 60 20 10 50 = 280 over 8; across: 20 10 10 20 10 10 30 10 = 120 over 8
    assert float(contrast(two_shots).squeeze()) == pytest.approx(280 / 120)
    # without the diagonal: 30 20 20 10 = 80 over 4, against 15
    assert float(contrast(two_shots, diagonal=False).squeeze()) == pytest.approx(20 / 15)
    # without key 0: inside 30 50 60 20 10 50 = 220 over 6; across 20 10 10 20 10 10 = 80 over 6
    assert float(contrast(two_shots, first_key_frame=False).squeeze()) == pytest.approx(220 / 80)


@pytest.mark.parametrize("diagonal", [True, False])
@pytest.mark.parametrize("first_key_frame", [True, False])
def test_equals_double_loop(random_maps, diagonal, first_key_frame):
    found = contrast(random_maps, over=(), diagonal=diagonal, first_key_frame=first_key_frame)
    assert found.dims == ("prompt", "step", "branch", "layer", "head")
    expected = []
    for mass, shot in maps_of(random_maps):
        intra, inter = by_hand(mass, shot, lambda i, j: (diagonal or i != j) and (first_key_frame or j != 0))
        expected.append(np.mean(intra) / np.mean(inter))
    np.testing.assert_allclose(found.values.ravel(), expected, rtol=1e-12)


def test_pooled_is_ratio_of_means_and_not_mean_of_ratios(random_maps):
    intra, inter = [], []
    for mass, shot in maps_of(random_maps):
        one = by_hand(mass, shot, lambda i, j: True)
        intra += one[0]
        inter += one[1]
    found = float(pooled_contrast(random_maps).squeeze())
    assert found == pytest.approx(np.mean(intra) / np.mean(inter), rel=1e-12)
    assert found != pytest.approx(float(contrast(random_maps).mean()), rel=1e-3)


def test_pooled_leaves_out_missing_maps_and_single_shots(random_maps):
    whole = pooled_contrast(random_maps.isel(prompt=[0]), ("prompt", "step", "layer", "head"))
    shots = random_maps.query_shot.copy()
    shots[1] = 0
    other = random_maps.assign_coords(query_shot=shots)
    assert float(pooled_contrast(other).squeeze()) == pytest.approx(float(whole.squeeze()))
    torn = random_maps.copy(deep=True)
    torn.mass[1] = np.nan
    assert float(pooled_contrast(torn).squeeze()) == pytest.approx(float(whole.squeeze()))


def test_one_definition_is_that_of_the_mean_map(random_maps):
    """Steps and heads are averaged first: the contrast of a mean, which is not the mean of contrasts."""
    found = contrast(random_maps)
    assert found.dims == ("prompt", "branch", "layer")
    mean = random_maps.mass.values.astype(float).mean(axis=(1, 4))
    for prompt, layer in ((0, 1), (1, 0)):
        intra, inter = by_hand(
            mean[prompt, 0, layer], random_maps.query_shot.values[prompt], lambda i, j: True
        )
        assert float(found[prompt, 0, layer]) == pytest.approx(np.mean(intra) / np.mean(inter), rel=1e-12)
    assert float(found.mean()) != pytest.approx(float(contrast(random_maps, over=()).mean()), rel=1e-3)
    xr.testing.assert_allclose(contrast(mean_map(random_maps)), found)


@pytest.mark.parametrize("diagonal", [True, False])
@pytest.mark.parametrize("first_key_frame", [True, False])
def test_distance_only_equals_loops(random_maps, diagonal, first_key_frame):
    found = distance_only_contrast(random_maps, over=(), diagonal=diagonal, first_key_frame=first_key_frame)
    expected = []
    for mass, shot in maps_of(random_maps):
        admitted = [
            (i, j) for i in range(7) for j in range(7) if (diagonal or i != j) and (first_key_frame or j)
        ]
        level = {
            lag: np.mean([float(mass[i, j]) for i, j in admitted if abs(i - j) == lag])
            for lag in range(7)
            if any(abs(i - j) == lag for i, j in admitted)
        }
        intra = [level[abs(i - j)] for i, j in admitted if shot[i] == shot[j]]
        inter = [level[abs(i - j)] for i, j in admitted if shot[i] != shot[j]]
        expected.append(np.mean(intra) / np.mean(inter))
    np.testing.assert_allclose(found.values.ravel(), expected, rtol=1e-9)


def test_locality_explains_all_of_the_contrast_of_a_film_without_cuts(dataset):
    """A head that looks at its neighbours has a contrast of 20 against an imaginary cut, and so has its distance."""
    frame = np.arange(13)
    mass = np.exp(-1.2 * np.abs(frame[:, None] - frame[None, :]))
    ds = dataset(mass / mass.max(), frame >= 6)
    assert float(contrast(ds).squeeze()) > 15
    np.testing.assert_allclose(contrast(ds), distance_only_contrast(ds), rtol=1e-6)


def test_lag_matched_equals_mantel_haenszel_by_loops(random_maps):
    found = lag_matched_contrast(random_maps, over=()).values.ravel()
    expected = []
    for mass, shot in maps_of(random_maps):
        above = below = 0.0
        for lag in range(1, 7):
            intra, inter = by_hand(mass, shot, lambda i, j, lag=lag: abs(i - j) == lag)
            if intra and inter:
                weight = len(intra) * len(inter) / (len(intra) + len(inter))
                above += weight * np.mean(intra)
                below += weight * np.mean(inter)
        expected.append(above / below)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_distance_alone_gives_contrast_but_no_lag_matched_contrast(dataset):
    frame = np.arange(9)
    ds = dataset(0.8 ** np.abs(frame[:, None] - frame[None, :]), [0, 0, 0, 0, 1, 1, 1, 2, 2])
    assert float(contrast(ds).squeeze()) > 1.5
    assert float(lag_matched_contrast(ds).squeeze()) == pytest.approx(1.0, rel=1e-6)


def test_own_shot_mass_by_hand(two_shots, dataset):
    # rows: 70, 70, 80, 60 per cent
    assert float(own_shot_mass(two_shots).squeeze()) == pytest.approx(0.70)
    halved = two_shots.assign(mass=two_shots.mass / 2)  # the rest went to text
    assert float(own_shot_mass(halved).squeeze()) == pytest.approx(0.70)


def test_single_shot_is_nan_not_an_error(two_shots):
    single = two_shots.assign_coords(query_shot=("query_frame", np.zeros(4, int)))
    for statistic in (contrast, lag_matched_contrast, first_frame_sink, pooled_contrast):
        assert np.isnan(float(statistic(single).squeeze()))
    assert float(own_shot_mass(single).squeeze()) == pytest.approx(1.0)
    assert float(first_frame_sink(single, queries="all").squeeze()) > 0


def test_hard_mask_is_infinite(dataset):
    ds = dataset(np.kron(np.eye(2), np.full((2, 2), 0.5)), [0, 0, 1, 1])
    assert np.isinf(float(contrast(ds).squeeze()))
    assert float(own_shot_mass(ds).squeeze()) == 1.0


def test_missing_map_and_prompt_without_plan_are_nan(random_maps):
    torn = random_maps.copy(deep=True)
    torn.mass[0, 1, 0, 0, 2] = np.nan
    assert np.isnan(contrast(torn, over=())).sum() == 1
    shots = random_maps.query_shot.copy()
    shots[0] = -1
    found = contrast(random_maps.assign_coords(query_shot=shots))
    assert np.isnan(found.isel(prompt=0)).all()
    assert not np.isnan(found.isel(prompt=1)).any()
    assert np.isnan(own_shot_mass(random_maps.assign_coords(query_shot=shots)).isel(prompt=0)).all()


def test_one_plan_for_all_equals_one_plan_per_prompt(random_maps):
    shot = random_maps.query_shot.values[0]
    common = random_maps.assign_coords(query_shot=("query_frame", shot))
    each = random_maps.assign_coords(query_shot=(("prompt", "query_frame"), np.stack([shot, shot])))
    for statistic in (contrast, lag_matched_contrast, own_shot_mass, first_frame_sink):
        xr.testing.assert_equal(statistic(common), statistic(each))


def test_first_frame_sink_by_loops(random_maps):
    found = first_frame_sink(random_maps, over=()).values.ravel()
    expected = []
    for mass, shot in maps_of(random_maps):
        sink = level = 0.0
        for query in range(7):
            if shot[query] == shot[0]:
                continue
            peers = [
                mass[i, j]
                for i in range(7)
                for j in range(1, 7)
                if abs(i - j) == query and shot[i] != shot[j]
            ]
            sink += mass[query, 0]
            level += np.mean(peers, dtype=np.float64)
        expected.append(sink / level)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_first_frame_sink_reads_a_planted_sink(dataset):
    mass = np.full((6, 6), 0.1)
    mass[3:, 0] = 0.4
    ds = dataset(mass, [0, 0, 0, 1, 1, 1])
    assert float(first_frame_sink(ds).squeeze()) == pytest.approx(4.0)
    # every query: rows 1, 2 give 0.1 and rows 3-5 give 0.4, against 0.1 each
    assert float(first_frame_sink(ds, queries="all").squeeze()) == pytest.approx(1.4 / 0.5)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(0.01, 100.0))
def test_scale_and_order_of_heads_do_not_matter(seed, scale):
    generator = np.random.default_rng(seed)
    num_frames = int(generator.integers(3, 9))
    shot = np.sort(generator.integers(0, 3, num_frames))
    mass = generator.random((4, num_frames, num_frames)) + 0.01
    order = generator.permutation(4)
    for statistic in (pair_means.contrast, pair_means.lag_matched_contrast, pair_means.first_frame_sink):
        plain = statistic(mass, shot)
        np.testing.assert_allclose(statistic(mass * scale, shot), plain, rtol=1e-9)
        np.testing.assert_array_equal(statistic(mass[order], shot), plain[order])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda ds: ds.drop_vars("query_shot"), ShotPlanError, "expected a shot for each latent frame"),
        (lambda ds: ds.drop_vars("mass"), SchemaError, "expected a variable 'mass'"),
        (
            lambda ds: ds.isel(key_frame=slice(1, 4)),
            SchemaError,
            "expected as many query as key frames, got 4 and 3",
        ),
    ],
)
def test_errors_say_what_was_expected(two_shots, change, error, message):
    with pytest.raises(error, match=message) as caught:
        contrast(change(two_shots))
    assert "\n" not in str(caught.value)


def test_unknown_queries_are_refused(two_shots):
    with pytest.raises(InputError, match="expected queries 'other_shots' or 'all', got 'some'"):
        first_frame_sink(two_shots, queries="some")
