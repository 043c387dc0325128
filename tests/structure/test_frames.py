"""Tables for pandas, and statistics at hand on a dataset."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from attnscope import schema, structure, synthetic
from attnscope.errors import InputError


def test_every_number_has_a_line_with_its_labels(random_maps) -> None:
    values = structure.contrast(random_maps, over=("step",))
    frame = structure.to_frame(values)
    assert len(frame) == values.size
    line = frame[(frame.prompt == 1) & (frame.layer == 2) & (frame["head"] == 0)]
    assert float(line["contrast"].iloc[0]) == float(values.sel(prompt=1, layer=2, head=0).squeeze())


def test_what_has_no_value_has_no_line_unless_asked(dataset) -> None:
    ds = dataset(np.full((2, 1, 1, 1, 1, 4, 4), 0.25), [[0, 0, 1, 1], [0, 0, 0, 0]])
    values = structure.contrast(ds)
    assert (len(structure.to_frame(values)), len(structure.to_frame(values, dropna=False))) == (1, 2)


def test_a_ranking_is_a_table_too(random_maps) -> None:
    frame = structure.to_frame(structure.rank_heads(random_maps))
    assert {"layer", "head", "value", "in_films"} <= set(frame.columns)
    assert len(frame) == 6


def test_a_single_number_needs_no_table() -> None:
    with pytest.raises(InputError, match="values along at least one dim, got a single number"):
        structure.to_frame(xr.DataArray(1.0))


def test_the_accessor_is_the_function(random_maps) -> None:
    xr.testing.assert_identical(
        random_maps.attn.adjusted_r(over=()), structure.adjusted_r(random_maps, over=())
    )
    assert random_maps.attn.summary() == structure.summary(random_maps)


def test_the_accessor_has_what_takes_a_dataset_and_nothing_else(random_maps) -> None:
    names = dir(random_maps.attn)
    assert set(names) <= set(structure.__all__)
    with pytest.raises(AttributeError, match="no statistic 'plot'; it has adjusted_contrast"):
        _ = random_maps.attn.plot


def test_the_accessor_adds_nothing_to_the_dataset() -> None:
    ds = synthetic.example()
    before = ds.copy(deep=True)
    ds.attn.contrast()
    xr.testing.assert_identical(ds, before)
    assert schema.violations(ds) == []
