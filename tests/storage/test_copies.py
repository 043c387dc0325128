"""A dataset from memory, from a store, and what plain xarray wrote of either: one form."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from attnscope import schema, structure
from attnscope.errors import AttnscopeError, SchemaError, StoreError
from attnscope.storage import Store, open_store, validate_store
from attnscope.testing.synthetic import example

WRITERS: dict[str, Callable[[xr.Dataset, Path], object]] = {
    "zarr": lambda dataset, path: dataset.to_zarr(path),
    "zarr without consolidated metadata": lambda dataset, path: dataset.to_zarr(path, consolidated=False),
    "zarr 2": lambda dataset, path: dataset.to_zarr(path, zarr_format=2),
    "netCDF 3": lambda dataset, path: dataset.to_netcdf(path, engine="scipy"),
}
pytestmark = [
    # zarr has no words yet in its specification for the text that numpy holds
    pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning"),
    pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part"),
]


def kinds(dataset: xr.Dataset) -> dict[Any, tuple[Any, str]]:
    """The dims and the kind of number of everything that a dataset holds."""
    return {name: (variable.dims, variable.dtype.kind) for name, variable in dataset.variables.items()}


def require_same(copy: xr.Dataset, original: xr.Dataset) -> None:
    xr.testing.assert_identical(copy, original)
    assert kinds(copy) == kinds(original)
    assert {name: type(value) for name, value in copy.attrs.items()} == {
        name: type(value) for name, value in original.attrs.items()
    }


@pytest.mark.parametrize("writer", WRITERS)
def test_what_xarray_wrote_of_memory_is_read_as_it_was(tmp_path, writer):
    original = example(noise=0.5)
    WRITERS[writer](original, tmp_path / "copy")
    require_same(open_store(tmp_path / "copy"), original)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("num_done", [4, 6])
def test_what_xarray_wrote_of_a_store_is_read_as_it_was(sweep, tmp_path, writer, num_done):
    store = Store.create(tmp_path / "a.zarr", sweep.header(has_text_mass=True, seeds=(0, 2**31 - 1)))
    for unit in sweep.UNITS[:num_done]:
        sweep.append(store, *unit)
    original = open_store(tmp_path / "a.zarr")
    WRITERS[writer](original, tmp_path / "copy")
    require_same(open_store(tmp_path / "copy"), original)
    require_same(open_store(tmp_path / "copy", lazy=True).load(), original)


def test_a_copy_that_xarray_made_of_the_very_files_is_read_too(sweep, tmp_path):
    sweep.full_store(tmp_path / "a.zarr").finalise()
    xr.open_zarr(tmp_path / "a.zarr").to_zarr(tmp_path / "copy.zarr")
    require_same(open_store(tmp_path / "copy.zarr"), open_store(tmp_path / "a.zarr"))


def test_memory_and_store_have_the_same_coordinates(sweep, tmp_path):
    sweep.full_store(tmp_path / "a.zarr")
    stored, free = open_store(tmp_path / "a.zarr"), example()
    assert set(stored.coords) == set(free.coords) == {*schema.COORDINATES, "done"}
    assert {name: kind for name, (_, kind) in kinds(stored).items()} == {
        name: kind for name, (_, kind) in kinds(free).items()
    }


def test_a_store_and_memory_lie_behind_one_another(sweep, tmp_path):
    sweep.full_store(tmp_path / "a.zarr", plans=(sweep.LATENT, sweep.LATENT), seeds=(3, 4))
    stored = open_store(tmp_path / "a.zarr")
    free = stored.isel(prompt=[0]).assign_coords(prompt=[2])
    both = xr.concat([stored, free], "prompt")
    assert schema.violations(both) == []
    assert both.done.all()
    np.testing.assert_array_equal(both.mass.values[2], stored.mass.values[0])


def test_the_numbers_of_a_copy_are_those_of_the_original(sweep, tmp_path):
    sweep.full_store(tmp_path / "a.zarr")
    original = structure.summary(open_store(tmp_path / "a.zarr"))
    for number, write in enumerate(WRITERS.values()):
        write(open_store(tmp_path / "a.zarr").assign_coords(seed=("prompt", [0, 1])), tmp_path / f"{number}")
        assert structure.summary(open_store(tmp_path / f"{number}")) == original


def test_attributes_are_text_and_numbers_and_read_back_exactly():
    facts = {
        "text": "a dog",
        "digits": "12",
        "looks like a list": "[1]",
        "empty": "",
        "quoted": '"a"',
        "nothing": None,
        "yes": True,
        "small": 3,
        "large": 2**40,
        "share": 0.1,
        "list": [1, "a", None],
        "table": {"a": {"b": [1.5]}},
    }
    flat = schema.flatten_attributes(facts)
    assert {type(value) for value in flat.values()} == {str, int, float}
    assert schema.parse_attributes(flat) == facts
    assert schema.parse_attributes(flat) is not flat
    assert type(schema.parse_attributes(flat)["yes"]) is bool


def test_an_edited_store_is_damaged_and_no_copy(sweep, tmp_path):
    sweep.full_store(tmp_path / "a.zarr")
    zarr.open_group(tmp_path / "a.zarr", mode="r+").attrs["seed"] = 3
    with pytest.raises(StoreError, match="sound metadata"):
        open_store(tmp_path / "a.zarr")


def test_a_copy_is_not_gone_on_with_and_not_vouched_for(tmp_path):
    example().to_zarr(tmp_path / "copy.zarr")
    with pytest.raises(StoreError, match="without checksums"):
        Store.open(tmp_path / "copy.zarr")
    (line,) = validate_store(tmp_path / "copy.zarr")
    assert "without checksums" in line


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda ds: ds.isel(head=0), "expected mass as float32 on"),
        (lambda ds: ds.drop_vars("layer"), "expected the coordinate layer"),
        (lambda ds: ds * 2, "rows that sum to 1"),
        (lambda ds: ds.rename(mass="attention"), "expected an attention dataset"),
        (lambda ds: ds.assign_attrs(attnscope_schema=99), "update attnscope"),
        (lambda ds: ds.assign_attrs(attnscope_schema="new"), "update attnscope"),
    ],
    ids=["no head", "no labels", "doubled", "other variables", "newer", "no number"],
)
def test_a_copy_of_what_is_no_attention_dataset_is_refused(tmp_path, writer, change, words):
    WRITERS[writer](change(example()), tmp_path / "copy")
    with pytest.raises((SchemaError, StoreError), match=words):
        open_store(tmp_path / "copy")


def test_a_damaged_copy_is_one_line(tmp_path):
    example().to_netcdf(tmp_path / "copy.nc", engine="scipy")
    content = (tmp_path / "copy.nc").read_bytes()
    random = np.random.default_rng(0)
    lines = []
    for number in range(60):
        broken = bytearray(content)
        if number % 3:
            for place in random.integers(4, 3000, 4):
                broken[place] = random.integers(256)
        else:
            broken = broken[: random.integers(4, len(content))]
        (tmp_path / "broken.nc").write_bytes(broken)
        try:
            open_store(tmp_path / "broken.nc")
        except AttnscopeError as error:
            lines.append(str(error))
    assert len(lines) > 20
    assert not [line for line in lines if "\n" in line]


def test_a_copy_whose_chunk_is_lost_is_refused(tmp_path):
    example().to_zarr(tmp_path / "copy.zarr")
    for file in (tmp_path / "copy.zarr" / "mass" / "c").rglob("*"):
        if file.is_file():
            file.unlink()
    with pytest.raises(SchemaError, match="finite mass"):
        open_store(tmp_path / "copy.zarr")
    root = json.loads((tmp_path / "copy.zarr" / "zarr.json").read_text())
    root["consolidated_metadata"]["metadata"]["mass"]["data_type"] = "float9"
    (tmp_path / "copy.zarr" / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(StoreError, match="a copy that xarray can read"):
        open_store(tmp_path / "copy.zarr")
