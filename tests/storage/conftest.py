"""One small sweep, two prompts of three steps, that the tests of the store write, break and read."""

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from attnscope.shots import ShotPlan
from attnscope.storage import Store, StoreHeader
from attnscope.testing.synthetic import block_attention

LATENT = ShotPlan.from_frames([5], num_frames=13, fps=16).to_latent()
OTHER = ShotPlan.from_frames([9], num_frames=13, fps=16).to_latent()
UNITS = [(prompt, step) for prompt in range(2) for step in range(3)]


def header(**changes):
    return StoreHeader(
        **{
            "prompts": ("a dog", "é\n\u2028 cat"),
            "seeds": (0, 2**40),
            "num_steps": 3,
            "branches": ("cond",),
            "layers": (1, 2),
            "modules": ("blocks.0.attn1", "blocks.1.attn1"),
            "stages": ("", ""),
            "heads": (0, 1),
            "plans": (LATENT, OTHER),
            "num_frames": 4,
            "stride": 4,
            "fps": Fraction(16),
            "attrs": {"model_id": "tiny", "lora": [], "scheduler": {"shift": 8.0}},
            **changes,
        }
    )


def unit_of(prompt, step, total=1.0):
    dataset = block_attention(LATENT, num_layers=2, num_heads=2, num_steps=3, noise=1.0, seed=prompt)
    return dataset.mass.values[0, step] * np.float32(total)


def append(store, prompt, step):
    share = 0.75 if store.header.has_text_mass else 1.0
    text = np.full((1, 2, 2, 4), 0.25, np.float32) if store.header.has_text_mass else None
    store.append(
        prompt, step, unit_of(prompt, step, share), text, timestep=999.0 - step, sigma=1.0 - step / 3
    )


def full_store(path, **changes):
    store = Store.create(path, header(**changes))
    for prompt, step in UNITS:
        append(store, prompt, step)
    return store


def files_of(path):
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(Path(path).rglob("*"))
        if file.is_file() and not file.name.endswith(".partial")
    }


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "pristine.zarr"
    full_store(path, has_text_mass=True).finalise()
    return path


@pytest.fixture(scope="session")
def sweep():
    """The functions of this file."""
    return sys.modules[__name__]
