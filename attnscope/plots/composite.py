"""One picture that tells the whole story of a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from attnscope.errors import InputError
from attnscope.plots import _theme
from attnscope.plots._panels import axes_in, colour_bar, draw_map, label_frames, shared_scale
from attnscope.plots._view import View, chosen, scale_label, view_of
from attnscope.plots.film_strip import Film, draw_strip, strip_height
from attnscope.plots.layer_curves import draw_contrast, draw_correlation
from attnscope.schema import LAYER, STEP

# Everything in inches from the lower left corner.
_WIDTH, _HEIGHT, _TITLE = _theme.WIDTH_PAGE_IN, 3.98, 0.28
_BIG, _BIG_LEFT, _BIG_BOTTOM = 2.72, 0.48, 1.00
_RIGHT_LEFT, _RIGHT_WIDTH = 3.98, 2.68
_CURVES_BOTTOM, _CURVES_TOP, _CURVES_GAP = 0.40, 2.58, 0.14
_SMALL_GAP = 0.09
_STRIP, _STRIP_GAP = _RIGHT_LEFT + _RIGHT_WIDTH - _BIG_LEFT, 0.12


def plot_overview(
    ds: xr.Dataset,
    contrast: xr.Dataset,
    correlation: xr.Dataset | None = None,
    *,
    distance_only: xr.Dataset | None = None,
    adjusted: xr.Dataset | None = None,
    layer: int | None = None,
    steps: Sequence[int] | None = None,
    prompt: Any = None,
    branch: str = "cond",
    band: tuple[int, int] | None = None,
    cmap: str = "viridis",
    title: str | None = None,
    film: Film | None = None,
) -> Figure:
    """Draw one page: who looks at whom in one layer, how that comes about while denoising, and which layers do it.

    Left: the frame map of `layer`, mean over denoising steps and heads, with cuts and shots; without `layer`, the
    one with the highest `mean` in `adjusted`, or else in `contrast`. Right, above: the same layer at
    single steps (`steps`, or four spread evenly), on the same colours. Right, below: the curves, as in
    `plot_profile`, with a green line at `layer`. The curves come from `structure.profile`. `film`, one picture
    (height, width, 3) a latent frame, is shown along the top.

    Raises: InputError for a layer, step, prompt or branch that was not recorded, or a film of another length.

    >>> from attnscope import structure, synthetic
    >>> from attnscope.shots import ShotPlan
    >>> plan = ShotPlan.from_latent_frames([3], num_frames_latent=6, fps=16).to_latent()
    >>> ds = synthetic.block_attention(plan)
    >>> figure = plot_overview(ds, structure.profile(structure.contrast(structure.mean_map(ds))))
    >>> len(figure.axes)  # one large map, its colour scale, three steps, one curve
    6
    """
    view = view_of(ds, prompt=prompt, branch=branch)
    (shown,) = chosen(view, LAYER, [_highest(adjusted, contrast) if layer is None else layer], at_most=1)
    columns = chosen(view, STEP, steps, at_most=4)
    with _theme.theme():
        room = 0.0 if film is None else strip_height(film, _STRIP) + _STRIP_GAP
        fig = Figure(figsize=(_WIDTH, _HEIGHT + room + (_TITLE if title else 0)))
        if film is not None:
            draw_strip(fig, film, view, left=_BIG_LEFT, bottom=_HEIGHT + _STRIP_GAP / 3, width=_STRIP)
        _maps(fig, view, shown, columns, cmap)
        stacked = correlation is not None or adjusted is not None
        _curves(fig, (contrast, distance_only), (correlation, adjusted), band, shown, stacked=stacked)
        if title:
            fig.text(
                _BIG_LEFT / _WIDTH, 1 - 0.07 / fig.get_size_inches()[1], title, ha="left", va="top", fontsize=10,
                fontweight="bold",
            )  # fmt: skip
    return fig


def _highest(*curves: xr.Dataset | None) -> int:
    """Read the layer with the highest mean off the first curve that is given and has a value."""
    for curve in curves:
        if curve is not None and np.isfinite(curve["mean"]).any():
            return int(curve[LAYER].values[int(np.nanargmax(curve["mean"].values))])
    raise InputError(
        expected="a curve with at least one value",
        got="none",
        where="in plot_overview",
        remedy="name the layer to show, as in layer=7",
    )


def _maps(fig: Figure, view: View, layer: int, steps: list[int], cmap: str) -> None:
    big = view.panel(layer=layer, step=None)
    small = [view.panel(layer=layer, step=step) for step in steps]
    norm = shared_scale([big, *small])
    ax = axes_in(fig, _BIG_LEFT, _BIG_BOTTOM, _BIG, _BIG)
    image = draw_map(ax, big, view, norm, cmap, bar=0.026)
    label_frames(ax, view, x=True, y=True, pad=8.5)
    _name_shots(ax, view)
    ax.set_title(f"Layer {layer}: which frame looks at which", loc="left", fontweight="bold", pad=4)
    ax.set_xlabel("key frame (latent)", labelpad=1)
    ax.set_ylabel("query frame", labelpad=2)
    bar = axes_in(fig, _BIG_LEFT, 0.55, _BIG, 0.08)
    over = f"mean over {len(view.labels(STEP))} steps" if len(view.labels(STEP)) > 1 else ""
    colour_bar(fig, image, bar, "", horizontal=True)
    bar.set_xlabel(scale_label(view, over).replace(" (", "\n("), fontsize=6.5, labelpad=1, linespacing=1.2)
    top = _BIG_BOTTOM + _BIG
    side = min((_RIGHT_WIDTH - _SMALL_GAP * (len(steps) - 1)) / len(steps), 0.62)
    for index, (step, panel) in enumerate(zip(steps, small, strict=True)):
        one = axes_in(fig, _RIGHT_LEFT + index * (side + _SMALL_GAP), top - 0.28 - side, side, side)
        draw_map(one, panel, view, norm, cmap, bar=0.05, line=0.6)
        one.set_title(view.step_title(step), fontsize=6, pad=2, linespacing=1.15)
    fig.text(
        _RIGHT_LEFT / _WIDTH,
        (top + 0.055) / fig.get_size_inches()[1],
        f"Layer {layer} while denoising",
        fontweight="bold",
    )


def _name_shots(ax: Axes, view: View) -> None:
    """Write the shot numbers into the map's own diagonal blocks, top left, where there is more than one shot."""
    for index, (start, stop) in enumerate(view.spans):
        if len(view.spans) > 1 and stop - start > 1:
            ax.text(
                stop - 0.65, start - 0.3, f"shot {index + 1}", color="white", fontsize=7, fontweight="bold",
                ha="right", va="top", path_effects=[withStroke(linewidth=1.6, foreground=_theme.INK, alpha=0.75)],
            )  # fmt: skip


def _curves(
    fig: Figure,
    contrasts: tuple[xr.Dataset, xr.Dataset | None],
    correlations: tuple[xr.Dataset | None, xr.Dataset | None],
    band: tuple[int, int] | None,
    layer: int,
    *,
    stacked: bool,
) -> None:
    room = _CURVES_TOP - _CURVES_BOTTOM
    height = (room - _CURVES_GAP) / 2 if stacked else room
    upper = axes_in(fig, _RIGHT_LEFT, _CURVES_TOP - height, _RIGHT_WIDTH, height)
    draw_contrast(upper, *contrasts, band)
    upper.axvline(layer, color=_theme.GREEN, linewidth=0.8, zorder=1)
    lowest = upper
    if stacked:
        lowest = axes_in(fig, _RIGHT_LEFT, _CURVES_BOTTOM, _RIGHT_WIDTH, height)
        draw_correlation(lowest, *correlations, band)
        lowest.axvline(layer, color=_theme.GREEN, linewidth=0.8, zorder=1)
        upper.tick_params(labelbottom=False)
    lowest.set_xlabel("layer", labelpad=1)
