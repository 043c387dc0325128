"""Pictures of sweeps: every cell is there with its number, and what is no effect is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from attnscope.errors import InputError
from attnscope.plots import plot_dose, plot_effect_grid, plot_effects, save_figure


def test_every_cell_has_its_point_line_and_count(tmp_path: Path) -> None:
    values = {"mean": [0.0, 0.5, 1.0], "low": [0.0, 0.2, 0.9], "high": [0.1, 0.8, 1.0], "num": [80, 20, 80]}
    effect = xr.Dataset(
        {name: ("cell", value) for name, value in values.items()}, {"cell": ["none", "soft 1", "full"]}
    )
    figure = plot_effects(effect, label="recall", title="Dose")
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["none", "soft 1", "full"]
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), values["mean"])
    ends = [segment[:, 0].tolist() for segment in ax.collections[0].get_segments()]
    assert ends == [[0.0, 0.1], [0.2, 0.8], [0.9, 1.0]]
    assert [text.get_text() for text in ax.texts] == ["80", "20", "80"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    assert all(path.stat().st_size > 2000 for path in save_figure(figure, tmp_path / "effects"))


def test_what_is_no_share_has_an_axis_of_its_own_length() -> None:
    values = {"mean": [0.011, 0.013], "low": [0.010, np.nan], "high": [0.012, np.nan]}
    effect = xr.Dataset({name: ("cell", value) for name, value in values.items()}, {"cell": ["none", "full"]})
    first, last = plot_effects(effect, is_share=False).axes[0].get_xlim()
    assert 0.009 < first < 0.010 < 0.013 < last < 0.014
    whole = plot_effects(effect).axes[0].get_xlim()
    assert whole[0] < 0 < 1 < whole[1]
    curve = effect.assign_coords(cell=[0.0, 1.0])
    (ax,) = plot_dose(curve, is_share=False).axes
    assert ax.get_legend() is None, "one curve needs no name"
    flat = plot_effects(effect.isel(cell=[1]), is_share=False).axes[0].get_xlim()
    assert flat[0] < 0.013 < flat[1]


def test_a_grid_has_a_number_in_each_square_that_has_films() -> None:
    grid = xr.DataArray(
        [[0.0, np.nan], [0.25, 1.0]], {"layers": ["7", "8"], "heads": ["0", "1"]}, name="recall"
    )
    figure = plot_effect_grid(grid)
    squares, bar = figure.axes
    assert bar.get_ylabel() == "recall"
    shown = [text.get_text() for text in squares.texts]
    assert shown == ["0.00", "0.25", "1.00"]
    assert [float(text) for text in shown] == [0.0, 0.25, 1.0], "the numbers are on the scale of the bar"
    assert bar.get_ylim() == (0.0, 1.0)
    figure.draw_without_rendering()
    square = squares.get_window_extent().width / 2
    assert all(text.get_window_extent().width < square for text in squares.texts)


def test_refusals() -> None:
    with pytest.raises(InputError, match="mean, low and high"):
        plot_effects(xr.Dataset({"mean": ("cell", [1.0])}))
    with pytest.raises(InputError, match="grid of two dims"):
        plot_effect_grid(xr.DataArray([1.0], dims="cell"))
