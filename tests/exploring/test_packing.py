"""What a browser gets is what was measured, to the precision that is stated."""

from __future__ import annotations

import gzip
from base64 import b64decode
from typing import Any

import matplotlib
import numpy as np
import pytest
import xarray as xr

from attnscope import structure, synthetic
from attnscope.errors import SchemaError
from attnscope.exploring.packing import Packed, decode, encode, pack


def arrays(packed: Packed) -> dict[str, np.ndarray]:
    """The parts of a packed store, with their axes."""
    index, data = packed.index, gzip.decompress(packed.data)
    lead = [len(index[name]) for name in ("prompts", "steps", "branches", "layers", "heads")]
    frames = len(index["frames"])
    shapes = {
        "codes": (*lead, frames, frames),
        "ranges": (*lead, 2),
        "statistics": (len(index["statistics"]), *lead),
    }
    return {
        name: np.frombuffer(
            data,
            np.uint8 if name == "codes" else np.float32,
            count=part["length"],
            offset=part["offset"],
        ).reshape(shapes[name])
        for name, part in index["parts"].items()
    }


def test_every_share_is_within_the_stated_precision(plain: xr.Dataset) -> None:
    packed = pack(plain, name="plain")
    parts = arrays(packed)
    shares = decode(parts["codes"], parts["ranges"])[:, 1:]
    error = np.abs(shares / plain.mass.values - 1).max()
    assert 0 < error <= packed.index["precision"] * 1.001 < 0.03


def test_the_first_place_is_the_mean_over_steps(plain: xr.Dataset) -> None:
    parts = arrays(pack(plain, name="plain"))
    mean = plain.mass.values.astype(np.float64).mean(axis=1)
    np.testing.assert_allclose(decode(parts["codes"], parts["ranges"])[:, 0], mean, rtol=0.02)


def test_no_share_and_no_record_have_levels_of_their_own() -> None:
    mass = np.array([[[0.0, 1.0], [0.25, 0.75]], [[np.nan] * 2] * 2], dtype=np.float32)
    codes, ranges = encode(mass)
    assert codes[0, 0, 0] == 0
    assert (codes[1] == 255).all()
    shares = decode(codes, ranges)
    assert shares[0, 0].tolist() == [0.0, 1.0]
    assert np.isnan(shares[1]).all()


@pytest.mark.parametrize("name", ["adjusted_r", "contrast", "first_frame_sink"])
def test_statistics_are_those_of_the_library(plain: xr.Dataset, name: str) -> None:
    packed = pack(plain, name="plain")
    place = [each["name"] for each in packed.index["statistics"]].index(name)
    found = arrays(packed)["statistics"][place]
    function = getattr(structure, name)
    np.testing.assert_allclose(found[:, 1:], function(plain, over=()).values, rtol=1e-4, atol=1e-6)
    # the mean map is float32 here and float64 there
    of_mean = function(plain, over=("step",)).values
    np.testing.assert_allclose(found[:, 0], of_mean, rtol=1e-3, atol=1e-5)


def test_cuts_are_those_of_each_film(plain: xr.Dataset) -> None:
    assert [each["cuts"] for each in pack(plain, name="plain").index["prompts"]] == [[4], [2, 6], [5]]


def test_without_shots_there_are_maps_and_no_statistics() -> None:
    bare = synthetic.example().drop_vars(["query_shot", "key_shot"])
    packed = pack(bare, name="bare")
    assert packed.index["statistics"] == []
    assert arrays(packed)["codes"].shape[-1] == 6


def test_steps_that_have_no_room_are_left_out_evenly_and_counted() -> None:
    many = synthetic.block_attention(synthetic_plan(), num_steps=20, num_layers=6, num_heads=4, noise=0.3)
    packed = pack(many, name="many", most_mb=0.02)
    steps = [each["step"] for each in packed.index["steps"]]
    assert steps[0] is None
    assert (steps[1], steps[-1]) == (0, 19)
    assert packed.index["left_out"] == {"steps": 20 - (len(steps) - 1), "films": 0}
    assert 0 < packed.index["left_out"]["steps"] < 18
    # the mean is over all steps, not over those that are left
    mean = many.mass.values.astype(np.float64).mean(axis=1)
    parts = arrays(packed)
    np.testing.assert_allclose(decode(parts["codes"], parts["ranges"])[:, 0], mean, rtol=0.02)


def test_a_selection_without_some_dims_is_taken(plain: xr.Dataset) -> None:
    one = plain.isel(prompt=1, branch=0, step=0)
    index = pack(one, name="one").index
    assert (len(index["prompts"]), index["branches"], index["layers"]) == (1, ["cond"], [1, 2, 3])


def test_colours_are_those_that_everybody_can_tell_apart(plain: xr.Dataset) -> None:
    table = np.frombuffer(b64decode(pack(plain, name="plain").index["colours"]["mass"]), np.uint8).reshape(
        256, 3
    )
    cividis = np.round(255 * matplotlib.colormaps["cividis"](np.linspace(0, 1, 254))[:, :3])
    np.testing.assert_array_equal(table[1:255], cividis)


def test_the_same_dataset_gives_the_same_bytes(plain: xr.Dataset) -> None:
    assert pack(plain, name="a").data == pack(plain, name="a").data


@pytest.mark.parametrize("wrong", [xr.Dataset(), xr.Dataset({"mass": ("layer", [1.0])})])
def test_what_has_no_maps_is_refused(wrong: xr.Dataset) -> None:
    with pytest.raises(SchemaError, match="expected a variable 'mass' with dims query_frame and key_frame"):
        pack(wrong, name="wrong")


def synthetic_plan() -> Any:
    from attnscope.shots import ShotPlan

    return ShotPlan.from_latent_frames([3], num_frames_latent=6, fps=16).to_latent()
