"""What a sweep did: one point a change with how sure it is, or a curve over the strength of a change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from attnscope.errors import InputError
from attnscope.plots import _theme
from attnscope.plots._layout import Box
from attnscope.plots._page import Page

_ROW_IN = 0.19
_LEFT, _RIGHT, _TOP, _BOTTOM = 1.5, 0.5, 0.3, 0.45
_DOSE_LEFT, _DOSE_RIGHT, _DOSE_TALL = 0.55, 0.15, 1.6


def plot_effects(
    effect: xr.Dataset,
    *,
    label: str | None = None,
    title: str | None = None,
    names: Sequence[str] | None = None,
    is_share: bool = True,
    width_in: float = _theme.WIDTH_COLUMN_IN,
) -> Page:
    """Draw how well each change cuts: a point a cell, from top to bottom, with a line from low to high.

    Parameters
    ----------
    effect : xr.Dataset
        What :func:`attnscope.structure.causal_effect` gives, or any dataset with `mean`, `low`, `high` over one dim.
        The number of films stands at the right where `num` is there.
    names : sequence of str, optional
        Replaces the labels of the cells.
    is_share : bool
        Whether the axis holds all of 0 to 1, as shares want; else it is as long as what is drawn.

    Raises
    ------
    InputError
        `mean`, `low` and `high` over one dim are not there.

    Examples
    --------
    >>> values = {name: ("cell", [0.0, 1.0]) for name in ("mean", "low", "high")}
    >>> len(plot_effects(xr.Dataset(values, {"cell": ["none", "full"]})).axes)
    1
    """
    dim = _dim_of(effect, "plot_effects")
    labels = list(map(str, effect[dim].values)) if names is None else list(names)
    mean, low, high = (effect[name].values.astype(float) for name in ("mean", "low", "high"))
    rows = np.arange(len(labels))
    tall = _ROW_IN * len(labels)
    with _theme.theme():
        fig = Page(width_in, _TOP + _BOTTOM + tall)
        ax = fig.axes_in(Box(_LEFT, _BOTTOM, width_in - _LEFT - _RIGHT, tall))
        ax.hlines(rows, low, high, color=_theme.BLUE, linewidth=1.2)
        ax.plot(mean, rows, "o", color=_theme.BLUE, markersize=3.5)
        ax.set_yticks(rows, labels)
        ax.set_ylim(len(labels) - 0.5, -0.5)
        ax.set_xlim(*_limits(mean, low, high, is_share=is_share))
        ax.grid(axis="x", color=_theme.FAINT, linewidth=0.6)
        ax.set_axisbelow(True)
        ax.tick_params(axis="y", length=0)
        for side in ("top", "right", "left"):
            ax.spines[side].set_visible(False)
        ax.set_xlabel(label or str(effect.attrs.get("measure", "")).replace("_", " "))
        if "num" in effect:
            _write_numbers(ax, rows, effect["num"].values)
        fig.write_title(0.05, title, size=8)
    return fig


def plot_dose(
    effect: xr.Dataset,
    *,
    untouched: xr.Dataset | None = None,
    hidden: xr.Dataset | None = None,
    label: str | None = None,
    title: str | None = None,
    is_share: bool = True,
    width_in: float = _theme.WIDTH_COLUMN_IN,
) -> Page:
    """Draw dose and response: how well a change cuts the stronger it is, between no change and the full one.

    Parameters
    ----------
    effect : xr.Dataset
        `mean`, `low` and `high` over one dim whose labels are numbers, the strength of the change.
    untouched, hidden : xr.Dataset, optional
        The same without a dim: no change, a dashed line with its range; the full change, a dotted one.
    is_share : bool
        As :func:`plot_effects`.

    Raises
    ------
    InputError
        `mean`, `low` and `high` over one dim of numbers are not there.

    Examples
    --------
    >>> values = {name: ("strength", [0.0, 0.4, 1.0]) for name in ("mean", "low", "high")}
    >>> len(plot_dose(xr.Dataset(values, {"strength": [0.0, 2.0, 8.0]})).axes)
    1
    """
    dim = _dim_of(effect, "plot_dose")
    if not np.issubdtype(effect[dim].dtype, np.number):
        raise InputError(
            expected="strengths that are numbers",
            got=f"labels such as {effect[dim].values[0]!r}",
            where="in plot_dose",
            remedy="give the cells of one sweep over strength",
        )
    ordered = effect.sortby(dim)
    strength = ordered[dim].values.astype(float)
    mean, low, high = (ordered[name].values.astype(float) for name in ("mean", "low", "high"))
    with _theme.theme():
        fig = Page(width_in, _TOP + _BOTTOM + _DOSE_TALL)
        ax = fig.axes_in(Box(_DOSE_LEFT, _BOTTOM, width_in - _DOSE_LEFT - _DOSE_RIGHT, _DOSE_TALL))
        levels = ((untouched, "no change", (0, (4, 2))), (hidden, "full change", (0, (1, 1.5))))
        for level, name, dashes in levels:
            if level is not None:
                ax.axhline(
                    float(level["mean"]), color=_theme.MUTED, linewidth=1, linestyle=dashes, label=name
                )
                ax.axhspan(
                    float(level["low"]), float(level["high"]), color=_theme.FAINT, linewidth=0, zorder=0
                )
        ax.fill_between(strength, low, high, color=_theme.BLUE, alpha=0.2, linewidth=0)
        ax.plot(strength, mean, "o-", color=_theme.BLUE, markersize=3.5, label="change")
        ax.set_ylim(*_limits(mean, low, high, is_share=is_share))
        ax.grid(axis="y", color=_theme.FAINT, linewidth=0.6)
        ax.set_axisbelow(True)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
        if np.issubdtype(ordered[dim].dtype, np.integer):  # steps, layers: there is nothing between them
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_xlabel(str(dim).replace("_", " "))
        ax.set_ylabel(label or str(effect.attrs.get("measure", "")).replace("_", " "))
        if any(level is not None for level, *_ in levels):
            ax.legend(loc="best")
        fig.write_title(0.05, title, size=8)
    return fig


def _dim_of(effect: xr.Dataset, where: str) -> str:
    if not {"mean", "low", "high"} <= set(effect.data_vars) or effect["mean"].ndim != 1:
        raise InputError(
            expected="mean, low and high over one dim",
            got=", ".join(map(str, effect.data_vars)) or "nothing",
            where=f"in {where}",
            remedy="give what structure.causal_effect returned",
        )
    return str(effect["mean"].dims[0])


def _write_numbers(ax: Axes, rows: Iterable[float], numbers: Iterable[float]) -> None:
    style: _theme.Style = {"va": "center", "fontsize": 6, "color": _theme.MUTED, "annotation_clip": False}
    beside: _theme.Style = {"xytext": (4, 0), "textcoords": "offset points"}
    for row, num in zip(rows, numbers, strict=True):
        ax.annotate(f"{int(num)}", (1, float(row)), xycoords=ax.get_yaxis_transform(), **beside, **style)


def _limits(*values: np.ndarray, is_share: bool) -> tuple[float, float]:
    joined = np.concatenate([*values, [0.0, 1.0] if is_share else []])
    joined = joined[np.isfinite(joined)]
    low, high = float(joined.min(initial=np.inf)), float(joined.max(initial=-np.inf))
    if not low < high:
        return (low - 0.5, high + 0.5) if joined.size else (0.0, 1.0)
    return low - 0.03 * (high - low), high + 0.03 * (high - low)
