"""Tables of colours: every number in its cell, differences go both ways from their middle."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import xarray as xr

from attnscope.errors import InputError
from attnscope.plots import plot_effect_grid, plot_table

RNG = np.random.default_rng(0)


def table(values: np.ndarray) -> xr.DataArray:
    rows, columns = values.shape
    coords = {"layer": np.arange(1, rows + 1), "head": np.arange(columns)}
    return xr.DataArray(values, coords, ("layer", "head"), name="contrast")


def test_the_colours_are_those_of_the_numbers() -> None:
    values = RNG.normal(size=(5, 3))
    figure = plot_table(table(values))
    (image,) = figure.axes[0].images
    np.testing.assert_array_equal(image.get_array(), values)
    assert image.get_clim() == (values.min(), values.max())
    assert figure.axes[1].get_ylabel() == "contrast"
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list("12345")


def test_a_middle_is_white_and_both_sides_are_as_long() -> None:
    values = np.array([[-1.0, 0.0, 3.0]])
    (image,) = plot_table(table(values), centre=0).axes[0].images
    assert image.get_clim() == (-3.0, 3.0)
    low, middle, high = image.cmap(image.norm(values[0]))
    assert middle[:3].min() > 0.95
    assert low[2] > low[0], "blue below"
    assert high[0] > high[2], "red above"


def test_infinite_and_missing_values_are_told_apart() -> None:
    values = np.array([[1.0, 2.0, np.inf, np.nan]])
    (image,) = plot_table(table(values)).axes[0].images
    drawn = image.get_array()
    assert drawn[0, 2] == 2.0
    assert np.ma.getmaskarray(drawn)[0].tolist() == [False, False, False, True]


def test_marks_stand_around_their_cells() -> None:
    figure = plot_table(table(RNG.normal(size=(4, 3))), marks=[(2, 1), (4, 0)])
    corners = [patch.get_xy() for patch in figure.axes[0].patches]
    assert corners == [(0.5, 0.5), (-0.5, 2.5)]


def test_a_long_table_stays_on_the_page_and_names_what_fits() -> None:
    figure = plot_table(table(RNG.normal(size=(200, 40))))
    assert figure.get_size_inches()[1] < 6
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert len(boxes) > 10
    assert all(lower.y1 <= upper.y0 for upper, lower in itertools.pairwise(boxes))


def test_a_loss_is_not_black() -> None:
    values = xr.DataArray([[-0.5, 0.0, 1.0]], {"layers": ["7"], "heads": ["0", "1", "2"]}, name="effect")
    (image,) = plot_effect_grid(values).axes[0].images
    assert image.get_clim() == (-1.0, 1.0)
    colours = image.cmap(image.norm(values.values[0]))
    assert colours[0, 2] > 0.5, "a light blue"
    (image,) = plot_effect_grid(abs(values)).axes[0].images
    assert image.get_clim() == (0.0, 1.0)
    (image,) = plot_effect_grid(3 * abs(values)).axes[0].images
    assert image.get_clim() == (0.0, 3.0), "a count goes beyond 1"


def test_refusals() -> None:
    with pytest.raises(InputError, match="grid of two dims"):
        plot_table(xr.DataArray([1.0], dims="layer"))
