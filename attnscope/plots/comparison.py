"""Two stores side by side: with and without a mask, two models, two prompts."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from attnscope.errors import InputError
from attnscope.plots import _theme
from attnscope.plots._layout import Comparison, comparison_page
from attnscope.plots._page import Page
from attnscope.plots._panels import (
    Panel,
    bare,
    colour_bar,
    draw_curve,
    draw_map,
    label_frames,
    mark_cuts,
    mark_shots,
    prepare_layer_axis,
    shared_scale,
)
from attnscope.plots._view import View, choose_labels, view_of
from attnscope.plots.layer_curves import require_curves
from attnscope.schema import LAYER

_BAR = 0.03


def plot_comparison(
    first: xr.Dataset,
    second: xr.Dataset,
    change: xr.DataArray,
    curves: tuple[xr.Dataset, xr.Dataset],
    difference: xr.Dataset,
    *,
    names: tuple[str, str] = ("first", "second"),
    layer: int | None = None,
    prompt: int | str | None = None,
    branch: str = "cond",
    label: str = "contrast",
    width_in: float = _theme.WIDTH_PAGE_IN,
    title: str | None = None,
) -> Page:
    """Draw two stores and what changed between them: three maps, two curves over layers, their paired difference.

    Parameters
    ----------
    first, second : xr.Dataset
        Attention datasets with as many latent frames; maps are means over steps and heads on one scale.
    change : xr.DataArray
        (query_frame, key_frame), second against first at `layer`, around 0: a difference of shares, or the logarithm
        to base 2 of their ratio. What it is stands in its name.
    curves : pair of xr.Dataset
        `structure.profile` of a statistic of each.
    difference : xr.Dataset
        `structure.profile` of the statistic's paired difference, second minus first.
    names : pair of str
        How the stores are called in the picture.
    layer : int, optional
        Which layer's maps; the last one recorded without.

    Raises
    ------
    InputError
        A layer or prompt was not recorded, a curve is none, or `change` has another size.

    Examples
    --------
    >>> from attnscope import structure, synthetic
    >>> one, other = (structure.mean_map(synthetic.example(contrast=ratio)) for ratio in (2.0, 20.0))
    >>> values = [structure.contrast(each) for each in (one, other)]
    >>> change = (other.mass - one.mass).sel(layer=4).isel(prompt=0, branch=0)
    >>> curves = tuple(structure.profile(each) for each in values)
    >>> figure = plot_comparison(one, other, change, curves, structure.profile(values[1] - values[0]))
    >>> len(figure.axes)  # three maps, two scales, two curves
    7
    """
    require_curves(*curves, difference, where="plot_comparison")
    views = [view_of(each, prompt=prompt, branch=branch) for each in (first, second)]
    wanted = views[0].labels(LAYER)[-1] if layer is None else layer
    ((shown,), _) = (choose_labels(view, LAYER, [wanted], at_most=1) for view in views)
    panels = [view.panel(layer=shown, step=None) for view in views]
    changed = np.asarray(change.values, dtype=np.float64)
    if not panels[0].shape == panels[1].shape == changed.shape:
        raise InputError(
            expected="maps of as many latent frames",
            got=f"shapes {panels[0].shape}, {panels[1].shape} and {changed.shape}",
            where="in plot_comparison",
            remedy="compare videos of one length",
        )
    page = comparison_page(width_in, title=bool(title))
    with _theme.theme():
        fig = Page(page.width, page.height)
        _draw_maps(fig, page, views, panels, tuple(f"{name}, layer {shown}" for name in names))
        _draw_change(fig, page, views[1], changed, str(change.name or "second - first"))
        left, right = (fig.axes_in(box) for box in page.curves)
        _draw_both(left, curves, names, label)
        _draw_difference(right, difference, names, label)
        fig.write_title(0.1, title)
    return fig


def _draw_maps(
    fig: Page, page: Comparison, views: list[View], panels: list[Panel], titles: tuple[str, ...]
) -> None:
    norm = shared_scale(panels)
    for index, title in enumerate(titles):
        ax = fig.axes_in(page.maps[index])
        image = draw_map(ax, panels[index], views[index], norm, "viridis", bar=_BAR)
        label_frames(ax, views[index], x=True, y=index == 0, pad=6)
        ax.set_title(title, loc="left", fontweight="bold", pad=4)
        if index == 0:
            ax.set_ylabel("query frame", labelpad=2)
    colour_bar(image, fig.axes_in(page.mass_scale), "share of attention")
    middle = page.maps[1]
    fig.write(
        middle.left + middle.width / 2, middle.bottom - 0.3, "key frame (latent)", ha="center", va="top"
    )


def _draw_change(fig: Page, page: Comparison, view: View, changed: Panel, label: str) -> None:
    """Draw the change on colours that go both ways from 0, with the cuts of the second store."""
    known = changed[np.isfinite(changed)]
    reach = float(np.abs(known).max(initial=0.0)) or 1.0
    colours: _theme.Style = {"norm": Normalize(-reach, reach), "cmap": _theme.change_colours()}
    ax = fig.axes_in(page.maps[2])
    image = ax.imshow(np.clip(changed, -reach, reach), interpolation="nearest", rasterized=True, **colours)
    mark_cuts(ax, view.cuts if view.spans else [], colour=_theme.INK)
    mark_shots(ax, view, _BAR)
    bare(ax)
    label_frames(ax, view, x=True, y=False, pad=6)
    ax.set_title("change", loc="left", fontweight="bold", pad=4)
    fig.colorbar(image, cax=fig.axes_in(page.change_scale)).set_label(label)


def _draw_both(ax: Axes, curves: tuple[xr.Dataset, xr.Dataset], names: tuple[str, str], label: str) -> None:
    prepare_layer_axis(ax, curves[0], None, named=False)
    for curve, name, colour in zip(curves, names, (_theme.BLUE, _theme.ORANGE), strict=True):
        draw_curve(ax, curve, colour, name)
    ax.set_ylabel(label)
    ax.set_xlabel("layer", labelpad=1)
    ax.legend(loc="best")


def _draw_difference(ax: Axes, difference: xr.Dataset, names: tuple[str, str], label: str) -> None:
    prepare_layer_axis(ax, difference, None, named=False)
    ax.axhline(0, color=_theme.MUTED, linewidth=0.8, linestyle=(0, (4, 2)))
    draw_curve(ax, difference, _theme.GREEN, f"{names[1]} − {names[0]}")
    ax.set_ylabel(f"difference of {label}")
    ax.set_xlabel("layer", labelpad=1)
    ax.legend(loc="best")
