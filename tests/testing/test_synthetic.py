import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from attnscope.errors import InputError
from attnscope.schema import violations
from attnscope.shots import ShotPlan
from attnscope.testing.synthetic import block_attention

LATENT = ShotPlan.from_latent_frames([3, 5], num_frames_latent=9, fps=16).to_latent()


def test_every_ratio_inside_to_across_is_the_contrast():
    mass = block_attention(LATENT, contrast=26.68).mass.values.reshape(-1, 9, 9).astype(np.float64)
    shot = LATENT.shot_of_frame
    for query in range(9):
        inside = mass[:, query, shot == shot[query]]
        across = mass[:, query, shot != shot[query]]
        np.testing.assert_allclose(inside[:, :, None] / across[:, None, :], 26.68, rtol=5e-7)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.01, 100), st.floats(0, 5), st.floats(0, 3), st.floats(0, 0.9), st.integers(0, 5))
def test_rows_sum_to_1(contrast, locality, noise, sink, seed):
    dataset = block_attention(
        LATENT, contrast=contrast, locality=locality, noise=noise, first_frame_sink=sink, seed=seed
    )
    total = dataset.mass.values.astype(np.float64).sum(axis=-1)
    assert np.abs(total - 1).max() < 5e-7
    assert violations(dataset) == []
    assert float(dataset.mass.min()) >= 0
    assert float(dataset.mass.isel(key_frame=0).min()) >= np.float32(sink)


def test_locality_decays_by_the_same_factor_per_frame():
    mass = block_attention(LATENT, contrast=1.0, locality=0.5).mass.values[0, 0, 0, 0, 0]
    np.testing.assert_allclose(mass[0, 1:] / mass[0, :-1], np.exp(-0.5), rtol=1e-5)


def test_the_seed_decides_and_noise_differs_by_layer_head_and_step():
    first, again, other = (block_attention(LATENT, noise=0.3, seed=seed) for seed in (1, 1, 2))
    xr.testing.assert_identical(first, again)
    assert not np.array_equal(first.mass, other.mass)
    assert len(np.unique(first.mass.values.reshape(-1, 81), axis=0)) == 3 * 4 * 2


def test_the_noise_has_the_stated_spread():
    mass = block_attention(LATENT, contrast=1.0, noise=0.4, num_layers=20, num_heads=10).mass.values
    log_ratio = np.log(mass[..., 1:]) - np.log(mass[..., :1])
    assert abs(log_ratio.std() - 0.4 * np.sqrt(2)) < 0.01


def test_shots_are_the_plans():
    dataset = block_attention(LATENT)
    assert (
        dataset.query_shot.values.tolist() == dataset.key_shot.values.tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 2]
    )
    assert dict(dataset.sizes) == {
        "prompt": 1,
        "step": 3,
        "branch": 1,
        "layer": 4,
        "head": 2,
        "query_frame": 9,
        "key_frame": 9,
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"contrast": 0.0}, "expected contrast from 1e-06 to 1e+06, got 0 in block_attention"),
        ({"contrast": float("nan")}, "got nan"),
        ({"first_frame_sink": 1.0}, "expected first_frame_sink from 0 to 0.999, got 1"),
        ({"noise": -1.0}, "expected noise from 0 to 50, got -1"),
        ({"locality": 51.0}, "expected locality from 0 to 50, got 51"),
        ({"num_layers": 0}, "expected num_layers from 1 to 1e+06, got 0"),
    ],
)
def test_refuses_in_one_line(change, message):
    with pytest.raises(InputError) as caught:
        block_attention(LATENT, **change)
    assert message in str(caught.value)
