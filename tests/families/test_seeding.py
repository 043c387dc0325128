"""The same seed is the same film, also where something draws from PyTorch's own generator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

import attnscope as scope
from attnscope.families.seeding import seed_draws
from attnscope.testing import tiny

PLAN = scope.ShotPlan.from_latent_frames([2], num_frames_latent=5, fps=16)


@pytest.fixture(scope="module")
def pipe():
    """A tiny Wan whose scheduler adds noise at each step; the pipeline does not tell it the generator."""
    built = tiny("wan")
    built.scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, stochastic_sampling=True)
    return built


def film(pipe, seed):
    small = {"height": 32, "width": 32, "num_inference_steps": 3}
    return scope.generate(pipe, "a ball", shots=PLAN, seed=seed, progress=False, **small).frames


def test_a_film_is_its_seed_whatever_was_drawn_before(pipe):
    torch.manual_seed(1)
    one = film(pipe, 5)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert np.array_equal(film(pipe, 5), one)
    assert torch.equal(torch.get_rng_state(), before), "nobody else's noise is used up"
    assert not np.array_equal(film(pipe, 6), one)


def test_a_probe_is_its_seed_whatever_was_drawn_before(pipe):
    looks = []
    for drawn_before in (1, 2):
        torch.manual_seed(drawn_before)
        small = {"num_frames": 17, "height": 32, "width": 32, "num_inference_steps": 3}
        looks.append(scope.probe(pipe, "a ball", shots=PLAN, seed=5, progress=False, **small))
    assert np.array_equal(looks[0].mass, looks[1].mass)


def test_the_first_noise_does_not_come_once_more(pipe):
    generator = torch.Generator().manual_seed(3)
    with seed_draws(pipe, generator):
        later = torch.randn(8)
    assert not torch.equal(later, torch.randn(8, generator=generator))
    with seed_draws(pipe, generator):
        assert not torch.equal(later, torch.randn(8)), "a generator that went on draws other noise"
