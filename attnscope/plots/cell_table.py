"""Tables of coloured cells: heads by layers, layers by steps, changes of a sweep by what they changed."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.patches import Rectangle

from attnscope.errors import InputError
from attnscope.plots import _theme
from attnscope.plots._layout import cell_table
from attnscope.plots._page import Page
from attnscope.plots._panels import bare

Values = npt.NDArray[np.float64]

_CELL_IN = 0.27
_MOST_NUMBERS = 400
_DARK = 0.6
_TICK_IN, _LETTER_IN = 0.13, 0.06


def plot_table(
    table: xr.DataArray,
    *,
    centre: float | None = None,
    marks: Iterable[tuple[Hashable, Hashable]] = (),
    label: str | None = None,
    title: str | None = None,
    width_in: float | None = _theme.WIDTH_COLUMN_IN,
    cell_in: float = _CELL_IN,
) -> Page:
    """Draw a statistic as a table of colours: layers by heads, denoising steps by layers, any two dims.

    Parameters
    ----------
    table : xr.DataArray
        Two dims with labels: the first downwards, the second to the right; grey where a value is missing, the ends of
        the scale where it is infinite.
    centre : float, optional
        The value that means "nothing": colours go both ways from it, as far as the farther end. Without it, colours go
        from the lowest value to the highest.
    marks : pairs of labels, optional
        Cells with a frame around them.
    label, title : str, optional
        What the colours mean; what the picture shows.
    width_in : float, optional
        Width of the page; without it every cell has the side ``cell_in``.

    Raises
    ------
    InputError
        The table has other than two dims, no cell, or no number.

    Examples
    --------
    >>> atlas = xr.DataArray([[1.0, 2.0], [0.5, 4.0]], {"layer": [7, 8], "head": [0, 1]})
    >>> figure = plot_table(atlas, centre=1, marks=[(8, 1)])
    >>> figure.axes[0].images[0].get_clim()
    (-2.0, 4.0)
    """
    values = _values(table)
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    if centre is not None:
        reach = max(high - centre, centre - low) or 1.0
        low, high = centre - reach, centre + reach
    colours = _theme.mass_colours() if centre is None else _theme.change_colours()
    fig = _draw(table, Normalize(low, high), colours, label, title, width_in, cell_in)
    rows, columns = (list(table[dim].values) for dim in table.dims)
    for row, column in marks:
        corner = (columns.index(column) - 0.5, rows.index(row) - 0.5)
        frame = Rectangle(corner, 1, 1, fill=False, edgecolor=_theme.ORANGE, linewidth=1.2)
        fig.axes[0].add_patch(frame)
    return fig


def plot_effect_grid(
    grid: xr.DataArray, *, label: str | None = None, title: str | None = None, square_in: float = _CELL_IN
) -> Page:
    """Draw a grid of changes as squares: dark where nothing is cut, bright where all cuts are there.

    Parameters
    ----------
    grid : xr.DataArray
        What :func:`attnscope.structure.effect_grid` gives, two dims of labels. Values from 0 to 1 (or above) are on a
        scale that begins at 0; a difference, which can be negative, goes both ways from 0. Grey where there is no
        film. The number stands in each square where there are at most 400.

    Raises
    ------
    InputError
        The grid has other than two dims, or no cell.

    Examples
    --------
    >>> len(plot_effect_grid(xr.DataArray([[0.0, 1.0]], {"layers": ["7"], "heads": ["0", "1"]})).axes)
    2
    """
    values = _values(grid)
    largest = max(1.0, float(np.nanmax(np.abs(values), initial=0.0)))
    is_change = bool((values < 0).any())
    norm = Normalize(-largest if is_change else 0.0, largest)
    colours = _theme.change_colours() if is_change else _theme.mass_colours()
    fig = _draw(grid, norm, colours, label, title, None, square_in)
    if values.size <= _MOST_NUMBERS:
        _write_numbers(fig.axes[0], values, norm, is_change=is_change)
    return fig


def _values(table: xr.DataArray) -> Values:
    if table.ndim != 2 or not table.size:
        raise InputError(
            expected="a grid of two dims",
            got=f"{table.ndim} dims and {table.size} values",
            where="in a table of a figure",
            remedy="give a statistic with two dims left, such as what structure.effect_grid returned",
        )
    return np.asarray(table.values, dtype=np.float64)


def _draw(
    table: xr.DataArray,
    norm: Normalize,
    colours: Colormap,
    label: str | None,
    title: str | None,
    width: float | None,
    cell: float,
) -> Page:
    names = tuple([str(each) for each in table[dim].values] for dim in map(str, table.dims))
    upright = max(map(len, names[1])) > 2 and width is None
    page = cell_table((names[0], names[1]), width=width, cell=cell, title=bool(title), upright=upright)
    with _theme.theme():
        fig = Page(page.width, page.height)
        ax = fig.axes_in(page.cells)
        image = ax.imshow(
            np.clip(_values(table), norm.vmin, norm.vmax),
            norm=norm,
            cmap=colours,
            interpolation="nearest",
            aspect="auto",
            rasterized=True,
        )
        bare(ax)
        ax.tick_params(labelbottom=True, labelleft=True)
        letters = 1 if upright else max(2, max(map(len, names[1])))
        across = _LETTER_IN * (letters + 1)
        _name_ticks(ax, "x", names[1], page.cells.width, across, rotation=90 if upright else 0)
        _name_ticks(ax, "y", names[0], page.cells.height, _TICK_IN, rotation=0)
        rows, columns = (str(dim).replace("_", " ") for dim in table.dims)
        ax.set_xlabel(columns)
        ax.set_ylabel(rows)
        scale = fig.axes_in(page.scale)
        fig.colorbar(image, cax=scale).set_label(label or str(table.name or "").replace("_", " "))
        scale.tick_params(length=2)
        fig.write_title(0.05, title, size=8)
    return fig


def _name_ticks(ax: Axes, axis: str, names: list[str], room: float, apart: float, *, rotation: int) -> None:
    """Write as many names as fit, the first one always, evenly."""
    every = max(1, math.ceil(apart * len(names) / room))
    places = range(0, len(names), every)
    ticks = ax.set_xticks if axis == "x" else ax.set_yticks
    ticks(list(places), [names[place] for place in places], rotation=rotation)


def _write_numbers(ax: Axes, values: Values, norm: Normalize, *, is_change: bool) -> None:
    centred: _theme.Style = {"ha": "center", "va": "center", "fontsize": 5.5}
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            share = float(norm(value))
            on_dark = abs(share - 0.5) > 0.3 if is_change else share <= _DARK
            ax.text(column, row, f"{value:.2f}", color="white" if on_dark else _theme.INK, **centred)
