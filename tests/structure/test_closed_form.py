"""Statistics of synthetic attention whose answer is known beforehand."""

import numpy as np
import pytest

from attnscope import structure, synthetic
from attnscope.shots import ShotPlan


def plan(cuts, num_frames):
    return ShotPlan.from_latent_frames(cuts, num_frames_latent=num_frames, fps=16).to_latent()


@pytest.mark.parametrize("asked", [1.0, 3.0, 26.68])
def test_contrast_is_the_one_asked_for(asked):
    """Exactly so for shots of equal length, where all rows are divided by the same number."""
    ds = synthetic.block_attention(plan([7, 14], 21), contrast=asked)
    for kwargs in ({}, {"diagonal": False}, {"first_key_frame": False}):
        np.testing.assert_allclose(structure.contrast(ds, **kwargs), asked, rtol=1e-5)
    np.testing.assert_allclose(structure.pooled_contrast(ds), asked, rtol=1e-5)
    np.testing.assert_allclose(structure.lag_matched_contrast(ds), asked, rtol=1e-5)
    np.testing.assert_allclose(structure.own_shot_mass(ds), 7 * asked / (7 * asked + 14), rtol=1e-5)


def test_sink_moves_its_share_to_frame_zero():
    share, num_frames = 0.3, 12
    ds = synthetic.block_attention(plan([6], num_frames), contrast=5.0, first_frame_sink=share)
    across = (1 - share) / (6 * 5 + 6)
    np.testing.assert_allclose(structure.first_frame_sink(ds, over=()), (across + share) / across, rtol=1e-5)


def test_structure_under_noise_and_locality_is_found():
    ds = synthetic.block_attention(plan([8, 15], 21), contrast=8.0, noise=0.3, locality=0.1, num_layers=2)
    numbers = structure.summary(ds)
    assert numbers["boundary_recall"] == 1
    assert numbers["boundary_precision"] == 1
    assert numbers["boundary_distance_frame"] == 0
    assert numbers["pearson_r"] > 0.85
    assert numbers["pearson_r_distance_removed"] > 0.7
    assert numbers["adjusted_contrast"] == pytest.approx(8, rel=0.1)
    assert numbers["contrast"] > 8 > 6 < numbers["contrast_lag_matched"] < 10


def test_noise_alone_has_no_structure():
    ds = synthetic.block_attention(plan([8, 15], 21), contrast=1.0, noise=0.3, num_layers=20, num_steps=10)
    assert float(structure.contrast(ds).mean()) == pytest.approx(1.0, abs=0.02)
    assert abs(float(structure.correlation(ds, over=(), distance_removed=True).mean())) < 0.02
    assert abs(float(structure.adjusted_r(ds, over=()).mean())) < 0.02
    assert float(structure.adjusted_contrast(ds, over=()).mean()) == pytest.approx(1.0, abs=0.02)
