"""What is written is read, by us and by plain xarray."""

import json
import warnings

import numpy as np
import pytest
import xarray as xr
import zarr

from attnscope import schema
from attnscope.errors import StoreError
from attnscope.storage import Store, open_store


def test_what_was_appended_is_read_back(sweep, tmp_path):
    sweep.full_store(tmp_path / "a.zarr")
    dataset = open_store(tmp_path / "a.zarr")
    assert schema.violations(dataset) == []
    for prompt, step in sweep.UNITS:
        np.testing.assert_array_equal(dataset.mass.values[prompt, step], sweep.unit_of(prompt, step))
    assert dataset.timestep.values.tolist() == [999.0, 998.0, 997.0]
    assert dataset.text.values.tolist() == ["a dog", "é\n\u2028 cat"]
    assert dataset.query_shot.values.tolist() == [[0, 0, 1, 1], [0, 0, 0, 1]]
    assert schema.parse_attributes(dataset.attrs)["scheduler"] == {"shift": 8.0}


def test_the_store_agrees_with_build_dataset(sweep, tmp_path):
    sweep.full_store(tmp_path / "a.zarr", plans=(sweep.LATENT, sweep.LATENT))
    built = schema.build_dataset(
        np.stack([[sweep.unit_of(p, s) for s in range(3)] for p in range(2)]),
        schema.Labels(
            prompts=sweep.header().prompts,
            seeds=sweep.header().seeds,
            steps=range(3),
            timesteps=[999.0, 998.0, 997.0],
            sigmas=[1.0, 1 - 1 / 3, 1 - 2 / 3],
            branches=["cond"],
            layers=[1, 2],
            modules=sweep.header().modules,
            stages=["", ""],
            heads=[0, 1],
            latent=sweep.LATENT,
        ),
    )
    xr.testing.assert_equal(open_store(tmp_path / "a.zarr"), built)


@pytest.mark.parametrize("consolidated", [None, True, False])
@pytest.mark.parametrize("num_done", [0, 4, 6])
def test_plain_xarray_opens_it_without_a_warning(sweep, tmp_path, consolidated, num_done):
    store = Store.create(tmp_path / "a.zarr", sweep.header(has_text_mass=True))
    for prompt, step in sweep.UNITS[:num_done]:
        sweep.append(store, prompt, step)
    if num_done == 6:
        store.finalise()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = xr.open_zarr(tmp_path / "a.zarr", consolidated=consolidated, chunks=None).load()
    assert set(plain.coords) == {*schema.COORDINATES, "done"}
    assert set(plain.data_vars) == {"mass", "text_mass"}
    assert schema.violations(plain) == []
    ours = open_store(tmp_path / "a.zarr")
    for name in ours.variables:
        np.testing.assert_array_equal(plain[name].values.astype(ours[name].dtype), ours[name].values)
    assert np.isnan(plain.mass.values).sum() == (6 - num_done) * 64
    assert plain.sel(branch="cond", layer=2).module.item() == "blocks.1.attn1"


def test_lazy_and_eager_agree(pristine):
    lazy = open_store(pristine, lazy=True)
    assert not lazy.mass.variable._in_memory
    xr.testing.assert_identical(lazy.load(), open_store(pristine))


def test_every_array_ends_in_a_checksum(pristine):
    arrays = [json.loads(file.read_text()) for file in pristine.glob("*/zarr.json")]
    assert len(arrays) == len(schema.COORDINATES) + 3
    assert {array["codecs"][-1]["name"] for array in arrays} == {"crc32c"}
    mass = zarr.open_array(pristine / "mass", mode="r")
    assert mass.chunks == (1, 1, 1, 2, 2, 4, 4)
    assert np.isnan(mass.fill_value)
    assert mass.dtype == np.float32


def test_recorded_steps_are_labels(sweep, tmp_path):
    store = Store.create(tmp_path / "a.zarr", sweep.header(num_steps=50, steps=(0, 20, 49)))
    store.append(0, 20, sweep.unit_of(0, 0), None, timestep=3.0, sigma=0.1)
    assert store.is_done(0, 20)
    assert store.progress() == (1, 6)
    assert open_store(tmp_path / "a.zarr").sel(step=20, prompt=0).done.item()
    with pytest.raises(StoreError, match="a recorded step, got prompt 0, step 1, "):
        store.is_done(0, 1)
