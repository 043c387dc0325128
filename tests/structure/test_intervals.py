"""interval, share_interval, mean_over, profile, mean_map."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from attnscope.errors import InputError
from attnscope.structure import (
    interval,
    mean_map,
    mean_over,
    pooled_share_interval,
    profile,
    share_interval,
    wilson,
)


def test_interval_is_students():
    values = np.random.default_rng(0).normal(size=12)
    low, high = interval(xr.DataArray(values, dims="prompt"))
    reach = stats.t.ppf(0.975, 11) * values.std(ddof=1) / np.sqrt(12)
    np.testing.assert_allclose([low, high], [values.mean() - reach, values.mean() + reach])
    few = interval(xr.DataArray(values[:4], dims="prompt"))[1]
    wider = stats.t.ppf(0.975, 2) * values[:4].std(ddof=1) / 2
    assert float(few) == pytest.approx(values[:4].mean() + wider)
    low, high = interval(xr.DataArray(np.exp(values), dims="prompt"), scale="log")
    np.testing.assert_allclose([low, high], np.exp([values.mean() - reach, values.mean() + reach]))


@pytest.mark.parametrize("num", [3, 5, 10, 40])
@pytest.mark.parametrize("scale", ["linear", "log"])
def test_interval_covers_as_often_as_it_says(num, scale):
    """At three films it is wider than it says, from five on it covers from .93 to .97 of the time."""
    draws = np.random.default_rng(5).normal(size=(8000, num))
    values = xr.DataArray(draws if scale == "linear" else np.exp(draws), dims=("trial", "prompt"))
    low, high = interval(values, scale=scale)
    centre = 0 if scale == "linear" else 1
    covered = float(((low < centre) & (high > centre)).mean())
    assert covered > 0.97 if num == 3 else 0.93 < covered < 0.97


@pytest.mark.parametrize("num", [4, 5, 10, 40])
@pytest.mark.parametrize("num_cuts", [1, 3])
@pytest.mark.parametrize("together", [False, True])
def test_share_interval_covers_where_cuts_go_together(num, num_cuts, together):
    """Recall of films that are cut wholly or not at all, and of films whose cuts have nothing to do with each other."""
    generator, covered = np.random.default_rng(7), []
    for share in (0.3, 0.5, 0.8):
        cut = generator.random((4000, num, 1 if together else num_cuts)) < share
        values = xr.DataArray(np.broadcast_to(cut, (4000, num, num_cuts)).mean(-1), dims=("trial", "prompt"))
        low, high = share_interval(values, most_tries=num_cuts)
        covered.append(float(((low <= share) & (share <= high)).mean()))
    assert np.mean(covered) > 0.93
    if num >= 10:
        assert np.mean(covered) < 0.975


@pytest.mark.parametrize("num", [5, 12, 40])
@pytest.mark.parametrize("together", [False, True])
def test_pooled_share_interval_covers_where_films_have_as_many_cuts_as_they_like(num, together):
    """One to seven cuts a film, found film by film or cut by cut; Wilson's over cuts holds in the second case alone."""
    generator, covered, by_cut = np.random.default_rng(9), [], []
    for share in (0.3, 0.5, 0.8):
        tries = generator.choice([1, 2, 3, 7], (4000, num))
        hits = generator.binomial(tries, share)
        if together:
            hits = tries * (generator.random((4000, num)) < share)
        arrays = (xr.DataArray(each, dims=("trial", "prompt")) for each in (hits, tries))
        low, high = pooled_share_interval(*arrays)
        covered.append(float(((low <= share) & (share <= high)).mean()))
        low, high = wilson(hits.sum(1), tries.sum(1))
        by_cut.append(float(((low <= share) & (share <= high)).mean()))
    assert np.mean(covered) > 0.93
    if num >= 40:
        assert np.mean(covered) < 0.975
    assert (np.mean(by_cut) < 0.8) == together


def test_pooled_share_interval_of_one_try_a_film_is_wilsons():
    hits = xr.DataArray([1] * 17 + [0] * 3, dims="prompt")
    ends = pooled_share_interval(hits, xr.ones_like(hits))
    np.testing.assert_allclose(ends, [*wilson([17], [20])[0], *wilson([17], [20])[1]])
    # a film without a try says nothing
    more = xr.concat([hits, xr.zeros_like(hits)], "prompt")
    tries = xr.concat([xr.ones_like(hits), xr.zeros_like(hits)], "prompt")
    np.testing.assert_allclose(pooled_share_interval(more, tries), ends)
    assert np.isnan(pooled_share_interval(hits[:2], xr.ones_like(hits[:2]))[0])
    with pytest.raises(InputError, match="hits from 0 to the number of tries, got up to 2 hits of 1"):
        pooled_share_interval(hits + 1, xr.ones_like(hits))


def test_nan_is_left_out_and_two_films_have_no_interval():
    values = xr.DataArray([[1.0, 2.0, np.nan, 4.0], [np.nan, np.nan, 3.0, 1.0]], dims=("layer", "prompt"))
    low, high = interval(values)
    whole = interval(xr.DataArray([1.0, 2.0, 4.0], dims="prompt"))
    np.testing.assert_allclose([low[0], high[0]], [float(end) for end in whole])
    assert np.isnan(low[1])
    assert np.isnan(high[1])
    low, _ = share_interval(values.clip(max=1))
    assert np.isnan(low[1])


def test_ratios_are_averaged_as_logarithms():
    values = xr.DataArray([0.25, 4.0, np.nan, 1.0], dims="prompt")
    assert float(mean_over(values, scale="log")) == pytest.approx(1.0)
    assert float(mean_over(values)) == pytest.approx(1.75)


def test_profile_averages_the_rest_first():
    values = xr.DataArray(
        np.arange(24.0).reshape(2, 3, 4), dims=("prompt", "layer", "head"), coords={"layer": [7, 8, 9]}
    )
    found = profile(values)
    assert found["mean"].dims == ("layer",)
    assert list(found.layer.values) == [7, 8, 9]
    np.testing.assert_allclose(found["mean"], [7.5, 11.5, 15.5])
    assert np.isnan(found["low"]).all()
    assert list(found["num"].values) == [2, 2, 2]
    single = profile(values.isel(prompt=0, drop=True))
    np.testing.assert_allclose(single["mean"], [1.5, 5.5, 9.5])
    assert np.isnan(single["low"]).all()


def test_mean_map_equals_numpy_and_leaves_out_missing_steps(random_maps):
    torn = random_maps.copy(deep=True)
    torn.mass[:, 1] = np.nan
    found = mean_map(torn).mass
    assert found.dims == ("prompt", "branch", "layer", "query_frame", "key_frame")
    expected = random_maps.mass.values[:, 0].astype(np.float64).mean(axis=3)
    np.testing.assert_allclose(found.values, expected, rtol=1e-12)
    assert "query_shot" in found.coords
    xr.testing.assert_equal(mean_map(mean_map(torn)), mean_map(torn))


def test_wrong_dims_are_refused(random_maps):
    with pytest.raises(
        InputError, match="expected dims among prompt, step, branch, layer, head, got 'key_frame'"
    ):
        mean_map(random_maps, "key_frame")
    with pytest.raises(InputError, match="expected a dim of the values to average, got 'prompt'"):
        interval(xr.DataArray([1.0], dims="layer"))
    with pytest.raises(InputError, match="expected scale 'linear' or 'log', got 'root'"):
        interval(xr.DataArray([1.0], dims="prompt"), scale="root")
    with pytest.raises(InputError, match="expected a level between 0 and 1, got 95"):
        interval(xr.DataArray([1.0], dims="prompt"), level=95)
    with pytest.raises(InputError, match="expected values with the dim 'layer'"):
        profile(xr.DataArray([1.0], dims="prompt"))
