"""The parts that figures share: one frame map with its cuts and shots, the colour scale, a curve over layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from attnscope.plots import _theme
from attnscope.plots._view import View

Panel = npt.NDArray[np.float64]

# Colours spread over at most three decades: below, differences are drawn as "almost nothing".
_DECADES = 3


def shared_scale(panels: Sequence[Panel]) -> LogNorm:
    """Give one logarithmic colour scale for several maps: from lowest to highest value, at most three decades."""
    values = np.concatenate([panel.ravel() for panel in panels])
    values = values[np.isfinite(values) & (values > 0)]
    if values.size == 0:
        return LogNorm(1e-3, 1.0)
    high = float(values.max())
    low = max(float(values.min()), high * 10.0**-_DECADES)
    return LogNorm(low if low < high else high / 10, high)


def draw_map(
    ax: Axes, panel: Panel, view: View, norm: LogNorm, colours: str, *, bar: float, line: float = 0.9
) -> AxesImage:
    """Draw one frame map: cut lines in white, shots as bars of thickness `bar` (share of the side) along both axes."""
    # A logarithm cannot place zeros: they go just below the scale.
    drawn = np.where(panel <= 0, (norm.vmin or 1.0) / 2, panel)
    image = ax.imshow(
        drawn,
        norm=norm,
        cmap=_theme.mass_colours(colours),
        interpolation="nearest",
        aspect="equal",
        rasterized=True,
    )
    mark_cuts(ax, view.cuts if view.spans else [], line=line)
    mark_shots(ax, view, bar)
    bare(ax)
    return image


def mark_cuts(ax: Axes, cuts: Sequence[int], *, line: float = 0.9, colour: str = "white") -> None:
    """Draw each cut as a dashed line across both directions of a map."""
    style: _theme.Style = {"color": colour, "linewidth": line, "linestyle": (0, (4, 2)), "alpha": 0.95}
    for cut in cuts:
        ax.axvline(cut - 0.5, **style)
        ax.axhline(cut - 0.5, **style)


def mark_shots(ax: Axes, view: View, bar: float) -> None:
    """Draw each shot as a bar of thickness `bar` (share of the side) below the map and at its left."""
    for index, (start, stop) in enumerate(view.spans):
        colour = _theme.SHOT_COLOURS[index % len(_theme.SHOT_COLOURS)]
        flat: _theme.Style = {"facecolor": colour, "edgecolor": "white", "linewidth": 0.5, "clip_on": False}
        gap = bar / 2
        below = Rectangle(
            (start - 0.5, -gap - bar), stop - start, bar, transform=ax.get_xaxis_transform(), **flat
        )
        beside = Rectangle(
            (-gap - bar, start - 0.5), bar, stop - start, transform=ax.get_yaxis_transform(), **flat
        )
        ax.add_patch(below)
        ax.add_patch(beside)


def bare(ax: Axes) -> None:
    """Take frame, ticks and numbers off."""
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.tick_params(length=0, labelbottom=False, labelleft=False)


def label_frames(ax: Axes, view: View, *, x: bool, y: bool, pad: float) -> None:
    """Number the first frame, the cuts and the last frame, where they do not collide."""
    last = len(view.shot) - 1
    room = max(1, round(len(view.shot) / 8))
    ticks = [0]
    for place in [*(view.cuts if view.spans else []), last]:
        if place - ticks[-1] > room:
            ticks.append(place)
    ax.set_xticks(ticks)
    ax.set_yticks(ticks)
    ax.tick_params(axis="x", labelbottom=x, pad=pad)
    ax.tick_params(axis="y", labelleft=y, pad=pad)


def colour_bar(image: AxesImage, ax: Axes, label: str, *, horizontal: bool = False) -> None:
    """Draw the colour scale into axes of its own."""
    bar = ax.figure.colorbar(
        image, cax=ax, orientation="horizontal" if horizontal else "vertical", extend="min", extendfrac=0.04
    )
    bar.set_label(label, color=_theme.INK, fontsize=6.5 if "\n" in label else 7.5, linespacing=1.2)
    bar.outline.set_visible(False)
    bar.ax.tick_params(which="both", length=2, width=0.5)
    low, high = image.get_clim()
    # Over less than two decades, powers of ten alone would leave one number or none.
    axis = bar.ax.xaxis if horizontal else bar.ax.yaxis
    axis.set_major_locator(LogLocator(subs=(1.0,) if high > 100 * low else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
    axis.set_minor_locator(NullLocator())


def draw_curve(ax: Axes, curve: xr.Dataset, colour: str, label: str, *, dashed: bool = False) -> None:
    """Draw `mean` over layers, with a band from `low` to `high` where they are known, unless it is dashed."""
    (dim,) = curve["mean"].dims
    layer = np.asarray(curve[dim].values, dtype=float)
    low, high = (np.asarray(curve[name].values, dtype=float) for name in ("low", "high"))
    if np.isfinite(low).any() and not dashed:
        ax.fill_between(layer, low, high, color=colour, alpha=0.2, linewidth=0)
    marker = "o" if len(layer) <= 16 and not dashed else None
    style = (0, (3, 2)) if dashed else "-"
    ax.plot(
        layer, curve["mean"].values, color=colour, label=label, marker=marker, markersize=3, linestyle=style
    )


def prepare_layer_axis(ax: Axes, curve: xr.Dataset, band: tuple[int, int] | None, *, named: bool) -> None:
    """Set the layer axis; shade the layers `band`, first and last included, and name them if `named`."""
    (dim,) = curve["mean"].dims
    layer = np.asarray(curve[dim].values, dtype=float)
    ax.set_xlim(layer.min() - 0.6, layer.max() + 0.6)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.set_axisbelow(True)
    ax.grid(axis="y", color=_theme.FAINT, linewidth=0.6)
    if band is None:
        return
    ax.axvspan(band[0] - 0.5, band[1] + 0.5, color=_theme.FAINT, alpha=0.6, linewidth=0, zorder=0)
    if named:
        place = (max(band[0] - 0.5, layer.min() - 0.6), 1.0)
        note = f" layers {band[0]}–{band[1]}"
        style: _theme.Style = {"va": "bottom", "fontsize": 6.5, "color": _theme.MUTED}
        ax.annotate(note, place, xycoords=ax.get_xaxis_transform(), **style)
