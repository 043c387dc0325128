"""A grid of frame maps: layers down, denoising steps to the right."""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr
from matplotlib.axes import Axes

from attnscope.plots import _theme
from attnscope.plots._layout import square_grid
from attnscope.plots._page import Page
from attnscope.plots._panels import colour_bar, draw_map, label_frames, shared_scale
from attnscope.plots._view import View, choose_labels, scale_label, view_of
from attnscope.schema import LAYER, STEP

_BAR_IN = 0.045
_LEFT = 0.70


def plot_maps(
    ds: xr.Dataset,
    *,
    layers: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
    prompt: int | str | None = None,
    branch: str = "cond",
    head: int | None = None,
    cmap: str = "viridis",
    width_in: float = _theme.WIDTH_PAGE_IN,
    title: str | None = None,
) -> Page:
    """Draw who looks at whom: one square per layer (rows) and denoising step (columns), with the cuts drawn in.

    Each square is the frame map of one video: query frames downwards, key frames to the right, the colour the share
    of attention on one logarithmic scale for all squares; values below the scale, exact zeros included, are almost
    black, maps that were not recorded grey. White dashed lines: the cuts; coloured bars: the shots.

    Parameters
    ----------
    ds : xr.Dataset
        An attention dataset.
    layers, steps : sequence of int, optional
        Labels as in the dataset; four layers and five steps spread evenly without.
    prompt, branch, head
        Which video, guidance branch and head; the first video and the mean over heads (which the scale says) without.
    cmap : str
        Name of a matplotlib colour map; "cividis" suits more eyes.
    width_in : float
        Width of the page in inches.

    Raises
    ------
    InputError
        A layer, step, prompt, branch or head was not recorded.

    Examples
    --------
    >>> from attnscope import synthetic
    >>> figure = plot_maps(synthetic.example(), layers=[1, 4])
    >>> len(figure.axes)  # two layers, three steps, one colour scale
    7
    """
    view = view_of(ds, prompt=prompt, branch=branch, head=head)
    rows = choose_labels(view, LAYER, layers, at_most=4)
    columns = choose_labels(view, STEP, steps, at_most=5)
    panels = [[view.panel(layer=row, step=column) for column in columns] for row in rows]
    norm = shared_scale([panel for row in panels for panel in row])
    grid = square_grid(len(rows), len(columns), width_in, title=bool(title))
    with _theme.theme():
        fig = Page(grid.width, grid.height)
        for down, row in enumerate(rows):
            for right, column in enumerate(columns):
                ax = fig.axes_in(grid.squares[down][right])
                image = draw_map(ax, panels[down][right], view, norm, cmap, bar=_BAR_IN / grid.side)
                label_frames(ax, view, x=row == rows[-1], y=right == 0, pad=_BAR_IN * 72 * 1.5 + 2)
                _name(ax, view, row if right == 0 else None, column if down == 0 else None)
        label = scale_label(view)
        scale = fig.axes_in(grid.scale)
        colour_bar(image, scale, label if grid.scale.height > 2.9 else label.replace(" (", "\n("))
        fig.write(grid.middle, 0.09, "key frame (latent)", ha="center", va="bottom")
        fig.write_title(_LEFT, title)
    return fig


def _name(ax: Axes, view: View, layer: int | None, step: int | None) -> None:
    """Write the step above and the layer beside a square, where they are given."""
    if step is not None:
        ax.set_title(view.step_title(step), pad=3, linespacing=1.25)
    if layer is not None:
        upright: _theme.Style = {"rotation": 90, "ha": "right", "va": "center"}
        at: _theme.Style = {"xycoords": "axes fraction", "textcoords": "offset points"}
        ax.annotate(f"layer {layer}", (0, 0.5), xytext=(-26, 0), fontweight="bold", **at, **upright)
        small: _theme.Style = {"fontsize": 6.5, "color": _theme.MUTED}
        ax.annotate("query frame", (0, 0.5), xytext=(-17, 0), **small, **at, **upright)
