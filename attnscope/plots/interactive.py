"""Frame maps to move through in a browser or notebook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from attnscope.plots import _theme
from attnscope.plots._panels import shared_scale
from attnscope.plots._view import View, chosen, scale_label, view_of
from attnscope.schema import LAYER, STEP

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_HOVER = "query frame %{y}, key frame %{x}<br>share %{customdata:.2e}<extra>layer LAYER, STEP</extra>"


def figure_maps(
    ds: xr.Dataset,
    *,
    layers: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
    prompt: Any = None,
    branch: str = "cond",
    head: int | None = None,
    cmap: str = "Viridis",
) -> Figure:
    """Draw one frame map with two sliders, layer and denoising step, and the numbers under the mouse.

    What is shown is as in `plot_maps`: one video, the mean over heads unless `head` is given, one logarithmic colour
    scale for all maps, cuts as white dashed lines. Every layer and step is carried along unless `layers` and `steps`
    choose; a page grows by about 10 kB for each map of 21 frames. Returns a plotly figure; plotly is imported here.

    Raises: InputError for a layer, step, prompt, branch or head that was not recorded.

    >>> from attnscope import synthetic
    >>> from attnscope.shots import ShotPlan
    >>> plan = ShotPlan.from_latent_frames([3], num_frames_latent=6, fps=16).to_latent()
    >>> figure = figure_maps(synthetic.block_attention(plan), layers=[1, 4])
    >>> len(figure.data), [slider.currentvalue.prefix for slider in figure.layout.sliders]
    (6, ['layer ', 'step '])
    """
    from plotly import graph_objects

    view = view_of(ds, prompt=prompt, branch=branch, head=head)
    rows = chosen(view, LAYER, layers, at_most=len(view.labels(LAYER)))
    columns = chosen(view, STEP, steps, at_most=len(view.labels(STEP)))
    panels = {(row, column): view.panel(layer=row, step=column) for row in rows for column in columns}
    norm = shared_scale(list(panels.values()))
    low, high = float(np.log10(norm.vmin or 1e-4)), float(np.log10(norm.vmax or 1.0))
    traces = [
        graph_objects.Heatmap(
            z=np.log10(np.where(panel <= 0, 10.0 ** (low - 1), panel)),
            customdata=panel,
            coloraxis="coloraxis",
            hovertemplate=_hover(view, row, column),
            **_visibility(row == rows[0], column == columns[0]),
        )
        for (row, column), panel in panels.items()
    ]
    figure = graph_objects.Figure(traces)
    figure.update_layout(_layout(view, low, high, cmap), sliders=_sliders(view, rows, columns))
    return figure


def _hover(view: View, layer: int, step: int) -> str:
    return _HOVER.replace("LAYER", str(layer)).replace("STEP", view.step_title(step).replace("\n", ", "))


def _visibility(in_layer: bool, in_step: bool) -> dict[str, Any]:
    """Show a map if both sliders point at it: the step slider owns `visible`, the layer slider the other two.

    Plotly's sliders know nothing of each other, so each must own a property of its own.
    """
    return {"visible": in_step, "opacity": float(in_layer), "hoverinfo": "all" if in_layer else "skip"}


def _sliders(view: View, rows: list[int], columns: list[int]) -> list[dict[str, Any]]:
    pairs = [(row, column) for row in rows for column in columns]
    by_layer = [
        {
            "label": str(chosen_row),
            "method": "restyle",
            "args": [
                {
                    "opacity": [float(row == chosen_row) for row, _ in pairs],
                    "hoverinfo": ["all" if row == chosen_row else "skip" for row, _ in pairs],
                }
            ],
        }
        for chosen_row in rows
    ]
    by_step = [
        {
            "label": view.step_title(chosen_column).replace("step ", "").replace("\n", ", "),
            "method": "restyle",
            "args": [{"visible": [column == chosen_column for _, column in pairs]}],
        }
        for chosen_column in columns
    ]
    common = {"x": 0.0, "len": 1.0, "pad": {"t": 8, "b": 0}, "tickcolor": _theme.MUTED}
    return [
        {**common, "steps": by_layer, "currentvalue": {"prefix": "layer "}, "y": -0.14},
        {**common, "steps": by_step, "currentvalue": {"prefix": "step "}, "y": -0.34},
    ]


def _layout(view: View, low: float, high: float, cmap: str) -> dict[str, Any]:
    num_frames = len(view.shot)
    decades = np.arange(np.ceil(low), np.floor(high) + 1)
    dashed = {"color": "white", "width": 1.5, "dash": "dash"}
    lines = [
        {"type": "line", "line": dashed, **place}
        for cut in (view.cuts if view.spans else [])
        for place in (
            {"x0": cut - 0.5, "x1": cut - 0.5, "y0": -0.5, "y1": num_frames - 0.5},
            {"y0": cut - 0.5, "y1": cut - 0.5, "x0": -0.5, "x1": num_frames - 0.5},
        )
    ]
    bar = {
        "title": {"text": scale_label(view), "side": "right"},
        "tickvals": decades.tolist(),
        "ticktext": [f"{10.0**decade:g}" for decade in decades],
    }
    axis = {"constrain": "domain", "showgrid": False, "zeroline": False}
    return {
        "width": 640,
        "height": 780,
        "margin": {"l": 60, "r": 20, "t": 20, "b": 220},
        "plot_bgcolor": _theme.NOT_RECORDED,
        "coloraxis": {"colorscale": cmap, "cmin": low, "cmax": high, "colorbar": bar},
        "shapes": lines,
        "xaxis": {**axis, "title": {"text": "key frame (latent)"}},
        "yaxis": {**axis, "title": {"text": "query frame"}, "autorange": "reversed", "scaleanchor": "x"},
    }
