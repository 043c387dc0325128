"""bootstrap, profile, mean_map."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from attnscope.errors import InputError
from attnscope.structure import bootstrap, mean_map, profile


def test_interval_agrees_with_scipy():
    values = np.random.default_rng(0).lognormal(size=40)
    low, high = bootstrap(xr.DataArray(values, dims="prompt"), num_draws=20_000)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=1
    ).confidence_interval
    assert float(low) == pytest.approx(theirs.low, rel=0.02)
    assert float(high) == pytest.approx(theirs.high, rel=0.02)


def test_interval_covers_about_as_often_as_it_says():
    values = xr.DataArray(np.random.default_rng(5).normal(size=(400, 40)), dims=("trial", "prompt"))
    low, high = bootstrap(values, num_draws=500)
    assert 0.90 < float(((low < 0) & (high > 0)).mean()) < 0.97


def test_same_seed_same_interval_and_nan_is_left_out():
    values = xr.DataArray([[1.0, 2.0, np.nan, 4.0], [np.nan, np.nan, np.nan, 1.0]], dims=("layer", "prompt"))
    low, high = bootstrap(values)
    xr.testing.assert_equal(low, bootstrap(values)[0])
    assert 1 <= float(low[0]) < 7 / 3 < float(high[0]) <= 4
    assert np.isnan(low[1])
    assert np.isnan(high[1])


def test_one_prompt_has_no_interval():
    low, high = bootstrap(xr.DataArray([3.0], dims="prompt"))
    assert np.isnan(low)
    assert np.isnan(high)


def test_profile_averages_the_rest_first():
    values = xr.DataArray(
        np.arange(24.0).reshape(2, 3, 4), dims=("prompt", "layer", "head"), coords={"layer": [7, 8, 9]}
    )
    found = profile(values)
    assert found["mean"].dims == ("layer",)
    assert list(found.layer.values) == [7, 8, 9]
    np.testing.assert_allclose(found["mean"], [7.5, 11.5, 15.5])
    np.testing.assert_allclose(found["low"], [1.5, 5.5, 9.5])
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
    with pytest.raises(InputError, match="expected a dim of the values to resample, got 'prompt'"):
        bootstrap(xr.DataArray([1.0], dims="layer"))
    with pytest.raises(InputError, match="expected a level between 0 and 1, got 95"):
        bootstrap(xr.DataArray([1.0], dims="prompt"), level=95)
    with pytest.raises(InputError, match="expected values with the dim 'layer'"):
        profile(xr.DataArray([1.0], dims="prompt"))
