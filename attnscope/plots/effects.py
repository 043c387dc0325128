"""What a sweep did: one point a change with how sure it is, or a grid of changes as colours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from attnscope.errors import InputError
from attnscope.plots import _theme
from attnscope.plots._panels import axes_in

_ROW_IN = 0.19
_LEFT, _RIGHT, _TOP, _BOTTOM = 1.5, 0.3, 0.3, 0.45
_SQUARE_IN = 0.27
_DARK = 0.6
_MOST_NUMBERS = 400


def plot_effects(
    effect: xr.Dataset,
    *,
    label: str | None = None,
    title: str | None = None,
    names: Sequence[str] | None = None,
    width_in: float = _theme.WIDTH_COLUMN_IN,
) -> Figure:
    """Draw how well each change cuts: a point a cell, from top to bottom, with a line from low to high.

    `effect` is what :func:`attnscope.structure.causal_effect` gives, or any dataset with `mean`, `low`, `high` over one
    dim. The number of films stands at the right where `num` is there. `names` replaces the labels of the cells.

    Raises: InputError if these are not there.

    >>> values = {name: ("cell", [0.0, 1.0]) for name in ("mean", "low", "high")}
    >>> len(plot_effects(xr.Dataset(values, {"cell": ["none", "full"]})).axes)
    1
    """
    if not {"mean", "low", "high"} <= set(effect.data_vars) or effect["mean"].ndim != 1:
        raise InputError(
            expected="mean, low and high over one dim",
            got=f"{', '.join(map(str, effect.data_vars)) or 'nothing'}",
            where="in plot_effects",
            remedy="give what structure.causal_effect returned",
        )
    (dim,) = effect["mean"].dims
    labels = list(map(str, effect[dim].values)) if names is None else list(names)
    mean, low, high = (effect[name].values.astype(float) for name in ("mean", "low", "high"))
    rows = np.arange(len(labels))
    with _theme.theme():
        height = _TOP + _BOTTOM + _ROW_IN * len(labels)
        fig = Figure(figsize=(width_in, height))
        ax = axes_in(fig, _LEFT, _BOTTOM, width_in - _LEFT - _RIGHT - 0.2, _ROW_IN * len(labels))
        ax.hlines(rows, low, high, color=_theme.BLUE, linewidth=1.2)
        ax.plot(mean, rows, "o", color=_theme.BLUE, markersize=3.5)
        ax.set_yticks(rows, labels)
        ax.set_ylim(len(labels) - 0.5, -0.5)
        ax.set_xlim(*_limits(mean, low, high))
        ax.grid(axis="x", color=_theme.FAINT, linewidth=0.6)
        ax.set_axisbelow(True)
        ax.tick_params(axis="y", length=0)
        for side in ("top", "right", "left"):
            ax.spines[side].set_visible(False)
        ax.set_xlabel(label or str(effect.attrs.get("measure", "")).replace("_", " "))
        if "num" in effect:
            for row, num in zip(rows, effect["num"].values, strict=True):
                ax.annotate(
                    f"{int(num)}", (1, float(row)), xycoords=ax.get_yaxis_transform(), xytext=(4, 0),
                    textcoords="offset points", va="center", fontsize=6, color=_theme.MUTED, annotation_clip=False,
                )  # fmt: skip
        if title:
            fig.text(0.05 / width_in, 1 - 0.06 / height, title, va="top", fontsize=8, fontweight="bold")
    return fig


def plot_effect_grid(
    grid: xr.DataArray, *, label: str | None = None, title: str | None = None, square_in: float = _SQUARE_IN
) -> Figure:
    """Draw a grid of changes as squares: dark where nothing is cut, bright where all cuts are there.

    `grid` is what :func:`attnscope.structure.effect_grid` gives, two dims of labels and values from 0 to 1; grey where
    there is no film. The number stands in each square where there are at most 400.

    Raises: InputError for anything else.

    >>> len(plot_effect_grid(xr.DataArray([[0.0, 1.0]], {"layers": ["7"], "heads": ["0", "1"]})).axes)
    2
    """
    if grid.ndim != 2 or not grid.size:
        raise InputError(
            expected="a grid of two dims",
            got=f"{grid.ndim}",
            where="in plot_effect_grid",
            remedy="give what structure.effect_grid returned",
        )
    rows, columns = map(str, grid.dims)
    names = [[str(label) for label in grid[dim].values] for dim in (rows, columns)]
    values = grid.values.astype(float)
    wide, tall = square_in * values.shape[1], square_in * values.shape[0]
    left = 0.45 + 0.055 * max(map(len, names[0]))
    below = 0.4 + 0.055 * max(map(len, names[1]))
    with _theme.theme():
        size = (left + wide + 0.75, below + tall + (0.3 if title else 0.1))
        fig = Figure(figsize=size)
        ax = axes_in(fig, left, below, wide, tall)
        image = ax.imshow(
            values, vmin=0, vmax=1, cmap=_theme.mass_colours(), interpolation="nearest", aspect="auto"
        )
        ax.set_xticks(range(len(names[1])), names[1], rotation=90 if max(map(len, names[1])) > 2 else 0)
        ax.set_yticks(range(len(names[0])), names[0])
        ax.tick_params(length=0)
        ax.set_xlabel(columns.replace("_", " "))
        ax.set_ylabel(rows.replace("_", " "))
        for spine in ax.spines.values():
            spine.set_visible(False)
        if values.size <= _MOST_NUMBERS:
            for (row, column), value in np.ndenumerate(values):
                if np.isfinite(value):
                    colour = _theme.INK if value > _DARK else "white"
                    ax.text(
                        column,
                        row,
                        f"{value:.2f}",
                        ha="center",
                        va="center",
                        fontsize=5.5,
                        color=colour,
                    )
        bar = axes_in(fig, left + wide + 0.12, below, 0.1, tall)
        fig.colorbar(image, cax=bar).set_label(label or str(grid.name or "").replace("_", " "))
        bar.tick_params(length=2)
        if title:
            fig.text(0.05 / size[0], 1 - 0.06 / size[1], title, va="top", fontsize=8, fontweight="bold")
    return fig


def _limits(*values: np.ndarray) -> tuple[float, float]:
    joined = np.concatenate(values)
    joined = joined[np.isfinite(joined)]
    low, high = min(0.0, float(joined.min(initial=0))), max(1.0, float(joined.max(initial=1)))
    return low - 0.03 * (high - low), high + 0.03 * (high - low)
