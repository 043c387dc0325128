"""Frame maps side by side: layers downwards, denoising steps to the right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from attnscope.plots import _theme
from attnscope.plots._panels import Panel, axes_in, colour_bar, draw_map, label_frames, shared_scale
from attnscope.plots._view import View, chosen, scale_label, view_of
from attnscope.schema import LAYER, STEP

# Inches around the grid: for labels, bars and titles.
_LEFT, _RIGHT, _TOP, _BOTTOM, _GAP = 0.70, 0.90, 0.40, 0.48, 0.10
_BAR_IN = 0.045


def plot_maps(
    ds: xr.Dataset,
    *,
    layers: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
    prompt: Any = None,
    branch: str = "cond",
    head: int | None = None,
    cmap: str = "viridis",
    width_in: float = _theme.WIDTH_PAGE_IN,
    title: str | None = None,
) -> Figure:
    """Draw who looks at whom: one square per layer (rows) and denoising step (columns), with the cuts drawn in.

    Each square is the frame map of one video: query frames downwards, key frames to the right, the colour the share
    of attention on one logarithmic scale for all squares; values below the scale, exact zeros included, are almost
    black, maps that were not recorded grey. White dashed lines: the cuts; coloured bars: the shots. Without `layers`
    and `steps`, four and five recorded ones spread evenly; labels as in the dataset. Without `prompt`, the first
    video; without `head`, the mean over heads, which the colour scale says. `cmap="cividis"` suits more eyes.

    Raises: InputError for a layer, step, prompt, branch or head that was not recorded.

    >>> from attnscope import synthetic
    >>> from attnscope.shots import ShotPlan
    >>> plan = ShotPlan.from_latent_frames([3], num_frames_latent=6, fps=16).to_latent()
    >>> figure = plot_maps(synthetic.block_attention(plan), layers=[1, 4])
    >>> len(figure.axes)  # two layers, three steps, one colour scale
    7
    """
    view = view_of(ds, prompt=prompt, branch=branch, head=head)
    rows = chosen(view, LAYER, layers, at_most=4)
    columns = chosen(view, STEP, steps, at_most=5)
    panels = {(row, column): view.panel(layer=row, step=column) for row in rows for column in columns}
    side = (width_in - _LEFT - _RIGHT - (len(columns) - 1) * _GAP) / len(columns)
    side = min(side, 2.2)
    head_room = _TOP + (0.22 if title else 0)
    height = head_room + _BOTTOM + len(rows) * side + (len(rows) - 1) * _GAP
    with _theme.theme():
        fig = Figure(figsize=(width_in, height))
        image = _grid(fig, view, panels, rows, columns, side, cmap)
        grid_height = height - head_room - _BOTTOM
        grid_width = len(columns) * side + (len(columns) - 1) * _GAP
        tall = max(min(grid_height, 3.2), 1.1)
        bar = axes_in(fig, _LEFT + grid_width + 0.12, _BOTTOM + (grid_height - tall) / 2, 0.1, tall)
        label = scale_label(view)
        colour_bar(fig, image, bar, label if tall > 2.9 else label.replace(" (", "\n("))
        fig.text(
            (_LEFT + grid_width / 2) / width_in, 0.09 / height, "key frame (latent)", ha="center", va="bottom"
        )
        if title:
            fig.text(
                _LEFT / width_in,
                1 - 0.06 / height,
                title,
                ha="left",
                va="top",
                fontsize=8.5,
                fontweight="bold",
            )
    return fig


def _grid(
    fig: Figure,
    view: View,
    panels: dict[tuple[int, int], Panel],
    rows: list[int],
    columns: list[int],
    side: float,
    cmap: str,
) -> AxesImage:
    """Place the squares from the top left; numbers only on the outer ones."""
    norm = shared_scale(list(panels.values()))
    for down, row in enumerate(rows):
        for right, column in enumerate(columns):
            bottom = _BOTTOM + (len(rows) - 1 - down) * (side + _GAP)
            ax = axes_in(fig, _LEFT + right * (side + _GAP), bottom, side, side)
            image = draw_map(ax, panels[row, column], view, norm, cmap, bar=_BAR_IN / side)
            label_frames(ax, view, x=down == len(rows) - 1, y=right == 0, pad=_BAR_IN * 72 * 1.5 + 2)
            _name(ax, view, row if right == 0 else None, column if down == 0 else None)
    return image


def _name(ax: Axes, view: View, layer: int | None, step: int | None) -> None:
    if step is not None:
        ax.set_title(view.step_title(step), pad=3, linespacing=1.25)
    if layer is not None:
        ax.annotate(
            f"layer {layer}", (0, 0.5), xytext=(-26, 0), xycoords="axes fraction", textcoords="offset points",
            rotation=90, ha="right", va="center", fontweight="bold",
        )  # fmt: skip
        ax.annotate(
            "query frame", (0, 0.5), xytext=(-17, 0), xycoords="axes fraction", textcoords="offset points",
            rotation=90, ha="right", va="center", fontsize=6.5, color=_theme.MUTED,
        )  # fmt: skip
