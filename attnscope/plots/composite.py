"""One picture that tells the whole story of a store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from attnscope.errors import InputError
from attnscope.plots import _theme
from attnscope.plots._layout import Overview, overview_page, strip_width
from attnscope.plots._page import Page
from attnscope.plots._panels import colour_bar, draw_map, label_frames, shared_scale
from attnscope.plots._view import View, choose_labels, scale_label, view_of
from attnscope.plots.film_strip import Film, draw_strip, strip_height
from attnscope.plots.layer_curves import draw_contrast, draw_correlation, require_curves
from attnscope.schema import LAYER, STEP

_NARROW_IN = 2.4  # below, the curves take shorter names


def plot_overview(
    ds: xr.Dataset,
    contrast: xr.Dataset,
    correlation: xr.Dataset | None = None,
    *,
    distance_only: xr.Dataset | None = None,
    adjusted: xr.Dataset | None = None,
    layer: int | None = None,
    steps: Sequence[int] | None = None,
    prompt: int | str | None = None,
    branch: str = "cond",
    band: tuple[int, int] | None = None,
    cmap: str = "viridis",
    width_in: float = _theme.WIDTH_PAGE_IN,
    title: str | None = None,
    film: Film | None = None,
) -> Page:
    """Draw one page: who looks at whom in one layer, how that comes about while denoising, and which layers do it.

    Left: the frame map of `layer`, mean over denoising steps and heads, with cuts and shots. Right, above: the same
    layer at single steps, on the same colours. Right, below: the curves, as in `plot_profile`, with a green line at
    `layer`.

    Parameters
    ----------
    ds : xr.Dataset
        An attention dataset.
    contrast, correlation, distance_only, adjusted : xr.Dataset
        Curves as in `plot_profile`.
    layer : int, optional
        Without it, the one with the highest `mean` in `adjusted`, or else in `contrast`.
    steps : sequence of int, optional
        Four spread evenly without.
    prompt, branch, band, cmap, width_in
        As in `plot_maps` and `plot_profile`.
    film : array, optional
        One picture (height, width, 3) a latent frame, shown along the top.

    Raises
    ------
    InputError
        A layer, step, prompt or branch was not recorded, a dataset is no curve, or the film has another length.

    Examples
    --------
    >>> from attnscope import structure, synthetic
    >>> ds = synthetic.example()
    >>> figure = plot_overview(ds, structure.profile(structure.contrast(structure.mean_map(ds))))
    >>> len(figure.axes)  # one large map, its colour scale, three steps, one curve
    6
    """
    require_curves(contrast, correlation, distance_only, adjusted, where="plot_overview")
    view = view_of(ds, prompt=prompt, branch=branch)
    wanted = _highest(adjusted, contrast) if layer is None else layer
    (shown,) = choose_labels(view, LAYER, [wanted], at_most=1)
    columns = choose_labels(view, STEP, steps, at_most=4)
    below = correlation is not None or adjusted is not None
    page = overview_page(
        width_in,
        len(columns),
        2 if below else 1,
        strip_height=None if film is None else strip_height(film, strip_width(width_in)),
        title=bool(title),
    )
    with _theme.theme():
        fig = Page(page.width, page.height)
        if film is not None and page.strip is not None:
            draw_strip(fig, film, view, page.strip)
        _maps(fig, page, view, shown, columns, cmap)
        _curves(fig, page, (contrast, distance_only), (correlation, adjusted), band, shown)
        fig.write_title(page.large.left, title, size=10)
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


def _maps(fig: Page, page: Overview, view: View, layer: int, steps: list[int], cmap: str) -> None:
    large = view.panel(layer=layer, step=None)
    small = [view.panel(layer=layer, step=step) for step in steps]
    norm = shared_scale([large, *small])
    ax = fig.axes_in(page.large)
    image = draw_map(ax, large, view, norm, cmap, bar=0.026)
    label_frames(ax, view, x=True, y=True, pad=8.5)
    _name_shots(ax, view)
    ax.set_title(f"Layer {layer}: which frame looks at which", loc="left", fontweight="bold", pad=4)
    ax.set_xlabel("key frame (latent)", labelpad=1)
    ax.set_ylabel("query frame", labelpad=2)
    scale = fig.axes_in(page.scale)
    over = f"mean over {len(view.labels(STEP))} steps" if len(view.labels(STEP)) > 1 else ""
    colour_bar(image, scale, "", horizontal=True)
    scale.set_xlabel(scale_label(view, over).replace(" (", "\n("), fontsize=6.5, labelpad=1, linespacing=1.2)
    for box, step, panel in zip(page.small, steps, small, strict=True):
        one = fig.axes_in(box)
        draw_map(one, panel, view, norm, cmap, bar=0.05, line=0.6)
        one.set_title(view.step_title(step), fontsize=6, pad=2, linespacing=1.15)
    fig.write(*page.small_title, f"Layer {layer} while denoising", fontweight="bold")


def _name_shots(ax: Axes, view: View) -> None:
    """Write the shot numbers into the map's own diagonal blocks, top left, where there is more than one shot."""
    edge = withStroke(linewidth=1.6, foreground=_theme.INK, alpha=0.75)
    style: _theme.Style = {"color": "white", "fontsize": 7, "fontweight": "bold", "path_effects": [edge]}
    for index, (start, stop) in enumerate(view.spans):
        if len(view.spans) > 1 and stop - start > 1:
            ax.text(stop - 0.65, start - 0.3, f"shot {index + 1}", ha="right", va="top", **style)


def _curves(
    fig: Page,
    page: Overview,
    contrasts: tuple[xr.Dataset, xr.Dataset | None],
    correlations: tuple[xr.Dataset | None, xr.Dataset | None],
    band: tuple[int, int] | None,
    layer: int,
) -> None:
    axes = [fig.axes_in(box) for box in page.curves]
    is_small = page.curves[0].width < _NARROW_IN
    draw_contrast(axes[0], *contrasts, band, is_small=is_small)
    if len(axes) > 1:
        draw_correlation(axes[1], *correlations, band, is_small=is_small)
        axes[0].tick_params(labelbottom=False)
    for ax in axes:
        ax.axvline(layer, color=_theme.GREEN, linewidth=0.8, zorder=1)
    axes[-1].set_xlabel("layer", labelpad=1)
