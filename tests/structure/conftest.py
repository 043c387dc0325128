"""Small attention datasets written out by hand, independent of attnscope.testing.synthetic."""

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

DIMS = ("prompt", "step", "branch", "layer", "head", "query_frame", "key_frame")


def small_dataset(mass, shot) -> xr.Dataset:
    """Wrap (..., F, F) into the seven dims; shot is (F,) or (prompt, F)."""
    mass = np.asarray(mass, dtype=np.float32)
    mass = mass.reshape((1,) * (7 - mass.ndim) + mass.shape)
    shot = np.asarray(shot)
    lead = ("prompt",) if shot.ndim == 2 else ()
    coords = {name: np.arange(size) for name, size in zip(DIMS, mass.shape, strict=True)}
    coords["layer"] = np.arange(1, mass.shape[3] + 1)
    coords["branch"] = np.array(["cond", "uncond"])[: mass.shape[2]]
    ds = xr.Dataset({"mass": (DIMS, mass)}, coords=coords)
    return ds.assign_coords(
        query_shot=((*lead, "query_frame"), shot),
        key_shot=((*lead, "key_frame"), shot),
        query_start_s=("query_frame", np.arange(mass.shape[-1]) / 4),
    )


@pytest.fixture
def dataset() -> Callable[..., xr.Dataset]:
    """The builder of small datasets."""
    return small_dataset


@pytest.fixture
def two_shots(dataset) -> xr.Dataset:
    """Four frames, a cut in the middle; numbers chosen for mental arithmetic."""
    mass = np.array([[40, 30, 20, 10], [20, 50, 10, 20], [10, 10, 60, 20], [30, 10, 10, 50]]) / 100
    return dataset(mass, [0, 0, 1, 1])


@pytest.fixture
def random_maps(dataset) -> xr.Dataset:
    """Two prompts with different cuts, two layers, three heads, seven frames."""
    mass = np.random.default_rng(3).dirichlet(np.ones(7), size=(2, 2, 1, 2, 3, 7))
    return dataset(mass, [[0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 1, 2, 2]])


@pytest.fixture
def locality() -> Callable[..., np.ndarray]:
    """Attention that decays with distance and knows nothing of shots, rows normalised."""

    def build(num_frames: int, width: float = 3.0) -> np.ndarray:
        frame = np.arange(num_frames)
        mass = np.exp(-np.abs(frame[:, None] - frame[None, :]) / width)
        return mass / mass.sum(axis=-1, keepdims=True)

    return build
