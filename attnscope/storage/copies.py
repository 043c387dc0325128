"""Attention datasets that plain xarray wrote, as zarr or netCDF: no checksums, so they are held against the schema."""

from __future__ import annotations

import json
from collections.abc import Hashable
from pathlib import Path

import numpy as np
import xarray as xr

from attnscope.errors import SetupError, StoreError, quote
from attnscope.schema import (
    BRANCH,
    COORDINATES,
    DONE,
    MASS,
    MODULE,
    PROMPT,
    SCHEMA_VERSION,
    SEED,
    SIGMA,
    STAGE,
    STEP,
    TEXT,
    TEXT_MASS,
    TIMESTEP,
    check,
)
from attnscope.storage.arrays import DAMAGE
from attnscope.storage.disk import explain
from attnscope.storage.root import INTERNAL, ROOT_FILE, SCHEMA, NoStoreError, is_rewritten

_NETCDF_3, _HDF_5 = b"CDF", b"\x89HDF"
_TEXTS, _NUMBERS = (TEXT, BRANCH, MODULE, STAGE), (TIMESTEP, SIGMA, "query_start_s", "key_start_s")


def is_copy(path: Path) -> bool:
    """Say whether other software than ours wrote what lies there: a netCDF file, or a zarr folder of another form."""
    with explain(path):
        if path.is_file():
            with path.open("rb") as file:
                return file.read(4).startswith((_NETCDF_3, _HDF_5))
        if (path / ".zgroup").is_file():
            return True
        content = (path / ROOT_FILE).read_bytes() if (path / ROOT_FILE).is_file() else b""
    try:
        return is_rewritten(json.loads(content))
    except (ValueError, RecursionError):
        return False


def open_copy(path: Path, *, lazy: bool = False) -> xr.Dataset:
    """Read a copy as the attention dataset that it was written from: the same coordinates, of the same kinds.

    Raises
    ------
    StoreError
        It cannot be read, holds something else, or is of a newer schema.
    SchemaError
        It breaks the schema.
    SetupError
        A library is missing.
    """
    dataset = _read(path, lazy=lazy)
    if MASS not in dataset:
        raise NoStoreError(
            expected="an attention dataset",
            got="other netCDF data" if path.is_file() else "other zarr data",
            where=f"at {path}",
            remedy="give a store, or what was written of one",
        )
    version = dataset.attrs.get(SCHEMA, SCHEMA_VERSION)
    if not isinstance(version, int | np.integer) or version > SCHEMA_VERSION:
        raise NoStoreError(
            expected=f"an attention dataset of schema {SCHEMA_VERSION} or older",
            got=f"schema {quote(version)}",
            where=f"at {path}",
            remedy="update attnscope",
        )
    dataset = _as_written(dataset)
    check(dataset)
    return dataset


def _read(path: Path, *, lazy: bool) -> xr.Dataset:
    try:
        with explain(path):
            if path.is_file():
                opened = xr.open_dataset(path)
            else:
                opened = xr.open_zarr(path, chunks=None, consolidated=_is_consolidated(path))
            return opened if lazy else opened.load()
    except StoreError:
        raise
    except DAMAGE as error:
        if path.is_file() and "engine" in str(error):
            raise SetupError(
                expected="a library that reads netCDF",
                got="none",
                where=f"for {path}",
                remedy="pip install h5netcdf",
            ) from error
        raise StoreError(
            expected="a copy that xarray can read",
            got=quote(str(error)),
            where=f"at {path}",
            remedy="write it again",
        ) from error


def _is_consolidated(path: Path) -> bool:
    if not (path / ROOT_FILE).is_file():
        return (path / ".zmetadata").is_file()
    return "consolidated_metadata" in json.loads((path / ROOT_FILE).read_bytes())


def _as_written(dataset: xr.Dataset) -> xr.Dataset:
    """Undo what file formats do to kinds of numbers and text, and leave out what only a store has a use for."""
    if DONE not in dataset.coords and {PROMPT, STEP} <= set(dataset.sizes):
        there = np.ones((dataset.sizes[PROMPT], dataset.sizes[STEP]), dtype=bool)
        dataset = dataset.drop_vars(DONE, errors="ignore").assign_coords({DONE: ((PROMPT, STEP), there)})
    coords: dict[Hashable, tuple[tuple[Hashable, ...], np.ndarray]] = {}
    for name, coord in dataset.coords.items():
        kind = _kind(str(name))
        # by way of a list, because numpy cannot cast between its own two kinds of text
        values = np.array(coord.values.tolist(), dtype=str) if kind is str else coord.values
        coords[name] = (coord.dims, values if kind is None else values.astype(kind))
    variables = {
        name: dataset[name].variable.astype(np.float32) for name in (MASS, TEXT_MASS) if name in dataset
    }
    facts = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in dataset.attrs.items()
        if name not in INTERNAL
    }
    return xr.Dataset(variables, coords, facts)


def _kind(name: str) -> type | None:
    if name in _TEXTS:
        return str
    if name in _NUMBERS:
        return np.float64
    if name in (DONE, SEED):
        return bool if name == DONE else np.int64
    return np.int32 if name in COORDINATES else None
