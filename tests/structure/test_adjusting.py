"""adjusted_contrast, adjusted_r, place_matched_contrast against dense least squares written out pair by pair."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from attnscope import synthetic
from attnscope.errors import InputError
from attnscope.shots import ShotPlan
from attnscope.structure import adjusted_contrast, adjusted_r, mean_map, place_matched_contrast
from attnscope.structure.arrays import adjustment


def plan_of(cuts, num_frames=13):
    return ShotPlan.from_latent_frames(cuts, num_frames_latent=num_frames, fps=16).to_latent()


def least_squares(mass, shot, *, first_key_frame=True, signed=False):
    """Dummies by hand, numpy's dense solver, beta and partial r; pairs without mass left out."""
    pairs = [
        (i, j)
        for i in range(len(shot))
        for j in range(len(shot))
        if i != j and (first_key_frame or j != 0) and mass[i, j] > 0
    ]
    lag = [(i - j) if signed else abs(i - j) for i, j in pairs]
    names = sorted(
        {("row", i) for i, _ in pairs} | {("column", j) for _, j in pairs} | {("lag", d) for d in lag}
    )
    design = np.zeros((len(pairs), len(names)))
    for row, ((i, j), d) in enumerate(zip(pairs, lag, strict=True)):
        for name in (("row", i), ("column", j), ("lag", d)):
            design[row, names.index(name)] = 1
    x = np.array([float(shot[i] == shot[j]) for i, j in pairs])
    y = np.log([float(mass[i, j]) for i, j in pairs])
    whole = np.linalg.lstsq(np.column_stack([design, x]), y, rcond=None)[0]
    left = [v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in (x, y)]
    return whole[-1], left[0] @ left[1] / np.sqrt((left[0] @ left[0]) * (left[1] @ left[1]))


@pytest.mark.parametrize("first_key_frame", [True, False])
@pytest.mark.parametrize("signed_lag", [True, False])
def test_equals_a_dense_solve(random_maps, first_key_frame, signed_lag):
    options = {"over": (), "first_key_frame": first_key_frame, "signed_lag": signed_lag}
    contrast, r = adjusted_contrast(random_maps, **options), adjusted_r(random_maps, **options)
    assert contrast.dims == r.dims == ("prompt", "step", "branch", "layer", "head")
    for prompt, layer, head in ((0, 0, 0), (0, 1, 2), (1, 0, 1), (1, 1, 0)):
        mass = random_maps.mass.values[prompt, 1, 0, layer, head]
        beta, partial = least_squares(
            mass, random_maps.query_shot.values[prompt], first_key_frame=first_key_frame, signed=signed_lag
        )
        assert np.log(float(contrast[prompt, 1, 0, layer, head])) == pytest.approx(beta, abs=1e-8)
        assert float(r[prompt, 1, 0, layer, head]) == pytest.approx(partial, abs=1e-8)


def test_pairs_without_mass_are_left_out_and_counted(dataset):
    generator = np.random.default_rng(2)
    mass = generator.dirichlet(np.ones(9), size=(2, 9)).astype(np.float32)
    shot = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2])
    mass[0, 1, 6] = mass[0, 7, 2] = mass[0, 3, 2] = 0
    ds = dataset(mass[None, None, None, :, None], shot)
    contrast = adjusted_contrast(ds, first_key_frame=True)
    assert contrast.attrs["num_pairs_without_mass"] == 3
    for layer in range(2):
        expected = least_squares(mass[layer], shot)[0]
        assert np.log(float(contrast.squeeze()[layer])) == pytest.approx(expected, abs=1e-6)


def test_a_hard_mask_is_infinite(dataset):
    shot = np.array([0] * 4 + [1] * 5)
    mass = np.where(shot[:, None] == shot[None, :], 0.2, 0.0)
    ds = dataset(mass, shot)
    assert np.isinf(adjusted_contrast(ds).item())
    assert np.isnan(adjusted_r(ds).item())
    assert adjusted_contrast(ds).attrs["num_pairs_without_mass"] == 40


@pytest.mark.parametrize("contrast", [0.5, 1.0, 1.3, 10.0])
@pytest.mark.parametrize("locality", [0.0, 1.0])
@pytest.mark.parametrize("sink", [0.0, 0.2])
def test_a_known_contrast_is_found(contrast, locality, sink):
    """Within float32, with locality and an added pull of frame 0, which is then left out by itself."""
    options = {"contrast": contrast, "locality": locality, "first_frame_sink": sink}
    ds = synthetic.block_attention(plan_of([4, 9]), **options)
    np.testing.assert_allclose(adjusted_contrast(ds, over=()), contrast, rtol=1e-4)
    if sink:
        assert (
            not np.allclose(adjusted_contrast(ds, first_key_frame=True), contrast, rtol=0.01) or contrast == 1
        )


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.booleans())
def test_rows_and_columns_may_be_multiplied(seed, signed_lag):
    generator = np.random.default_rng(seed)
    num_frames = int(generator.integers(4, 12))
    shot = np.cumsum(np.r_[0, generator.integers(0, 2, num_frames - 1)])
    mass = generator.random((3, num_frames, num_frames)) + 0.01
    rows, columns = (np.exp(generator.normal(size=num_frames)) for _ in range(2))
    options = {"first_key_frame": True, "signed_lag": signed_lag}
    plain = adjustment.fit(mass, shot, **options)
    other = adjustment.fit(mass * rows[:, None] * columns, shot, **options)
    np.testing.assert_allclose(other.log_contrast, plain.log_contrast, atol=1e-9)
    np.testing.assert_allclose(other.r, plain.r, atol=1e-8)


def test_frame_0_is_left_out_where_it_pulls(random_maps):
    """Above 1.5 times what distance explains; both ways can be asked for."""
    pulled = random_maps.copy(deep=True)
    pulled.mass[:, :, :, 1, :, 1:, 0] += 2.0
    auto = adjusted_contrast(pulled, over=())
    xr.testing.assert_allclose(
        auto.sel(layer=2), adjusted_contrast(pulled, over=(), first_key_frame=False).sel(layer=2)
    )
    calm = mean_map(random_maps, ("step", "head", "layer", "prompt")).assign_coords(
        query_shot=("query_frame", random_maps.query_shot.values[0])
    )
    xr.testing.assert_allclose(adjusted_contrast(calm), adjusted_contrast(calm, first_key_frame=True))


def test_nan_where_nothing_can_be_said(random_maps, dataset):
    shots = random_maps.query_shot.copy()
    shots[0], shots[1] = 0, -1
    assert np.isnan(adjusted_contrast(random_maps.assign_coords(query_shot=shots))).all()
    torn = random_maps.copy(deep=True)
    torn.mass[0, 1, 0, 0, 2] = np.nan
    assert np.isnan(adjusted_contrast(torn, over=())).sum() == 1
    # a single frame before the cut is a row and a column
    mass = np.random.default_rng(0).random((6, 6))
    assert np.isnan(adjusted_contrast(dataset(mass, [0, 1, 1, 1, 1, 1]))).all()
    assert np.isnan(adjusted_r(dataset(np.full((6, 6), 1 / 6), [0, 0, 0, 1, 1, 1]))).all()
    assert np.isnan(adjusted_contrast(dataset(np.full((2, 2), 0.5), [0, 1]))).all()


def test_fitting_all_plans_at_once_is_fitting_each():
    generator = np.random.default_rng(1)
    mass = generator.random((5, 9, 9))
    mass[2, 3, 4] = 0
    plans = np.array([np.arange(9) >= cut for cut in range(1, 9)]).astype(int)
    whole = adjustment.fit_plans(mass, plans)
    for index, plan in enumerate(plans):
        one = adjustment.fit(mass, plan)
        np.testing.assert_allclose(whole.r[:, index], one.r)
        np.testing.assert_allclose(whole.log_contrast[:, index], one.log_contrast)


def films_of(dataset, plans, generator, *, contrast, noise=0.2, common=None):
    """Maps with place effects that all films share, and a contrast."""
    shots = np.array(plans)
    size = shots.shape[1]
    common = generator.normal(size=(size, size)) if common is None else common
    same = shots[:, :, None] == shots[:, None, :]
    logs = common + noise * generator.normal(size=(len(shots), size, size)) + np.log(contrast) * same
    mass = np.exp(logs) / np.exp(logs).sum(axis=-1, keepdims=True)
    return dataset(mass[:, None, None, None, None], shots)


def test_place_matched_equals_a_dense_solve(dataset):
    generator = np.random.default_rng(4)
    plans = [[0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1], [0, 1, 1, 2, 2, 2], [0] * 6]
    ds = films_of(dataset, plans, generator, contrast=2.0)
    found = place_matched_contrast(ds, first_key_frame=True)
    rows, target, same = [], [], []
    for film in range(5):
        for i in range(6):
            for j in range(6):
                if i != j:
                    row = np.zeros(5 * 12 + 36)
                    row[film * 12 + i] = row[film * 12 + 6 + j] = row[60 + 6 * i + j] = 1
                    rows.append(row)
                    target.append(np.log(float(ds.mass.values[film, 0, 0, 0, 0, i, j])))
                    same.append(float(plans[film][i] == plans[film][j]))
    beta = np.linalg.lstsq(np.column_stack([rows, same]), np.array(target), rcond=None)[0][-1]
    assert np.log(found.contrast.item()) == pytest.approx(beta, abs=1e-8)
    assert found.num.item() == 5
    assert found.low.item() < found.contrast.item() < found.high.item()


def test_place_matched_is_blind_to_what_films_share(dataset):
    """A locality that is not the same everywhere fools the lag adjustment, and not this."""
    generator = np.random.default_rng(5)
    frame = np.arange(13)
    start = 2.0 * ((frame[:, None] < 3) & (frame[None, :] < 3))  # the first three frames look at each other
    covered = []
    for _ in range(60):
        plans = [(frame >= cut).astype(int) for cut in generator.choice([2, 3, 4, 5, 8, 10], size=8)]
        ds = films_of(dataset, plans, generator, contrast=1.0, common=start)
        found = place_matched_contrast(ds)
        covered.append(found.low.item() <= 1 <= found.high.item())
    assert np.mean(covered) >= 0.88
    fooled = films_of(dataset, [(frame >= 3).astype(int)] * 8, generator, contrast=1.0, common=start)
    assert float(adjusted_contrast(fooled).mean()) > 1.5
    assert np.isnan(place_matched_contrast(fooled).contrast).all()


def test_place_matched_leaves_out_what_cannot_be_used(dataset):
    generator = np.random.default_rng(6)
    frame = np.arange(9)
    plans = [(frame >= cut).astype(int) for cut in (2, 4, 5, 6, 7)]
    ds = films_of(dataset, plans, generator, contrast=2.0)
    torn = ds.copy(deep=True)
    torn.mass[0] = np.nan
    torn.mass[1, ..., 2, 5] = 0
    found = place_matched_contrast(torn, first_key_frame=True)
    xr.testing.assert_allclose(found, place_matched_contrast(ds.isel(prompt=[2, 3, 4]), first_key_frame=True))
    assert found.num.item() == 3
    two = place_matched_contrast(ds.isel(prompt=[2, 3]))
    assert np.isfinite(two.contrast).all()
    assert np.isnan(two.low).all()
    with pytest.raises(InputError, match="expected films along the dim prompt"):
        place_matched_contrast(ds.isel(prompt=0))
