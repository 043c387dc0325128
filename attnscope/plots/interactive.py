"""Frame maps to move through in a browser or notebook."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from attnscope._types import Document
from attnscope.plots import _theme
from attnscope.plots._panels import shared_scale
from attnscope.plots._view import View, choose_labels, view_of
from attnscope.schema import HEAD, LAYER, PROMPT, STEP

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST_MAPS = 600
"""As many maps are carried along at most, unless they are asked for: about 10 kB each of 21 frames."""

_ASIDE = 10_000  # where a map is put that is not shown, in frames: off the axes


@dataclass(frozen=True)
class _Place:
    """Which map: one label on each slider."""

    layer: int
    step: int
    head: int | None  # None is the mean
    prompt: int | str | None


def figure_maps(
    ds: xr.Dataset,
    *,
    layers: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
    prompt: int | str | None = None,
    branch: str = "cond",
    head: int | None = None,
    cmap: str = "Viridis",
) -> Figure:
    """Draw one frame map with a slider each for layer, step, head and prompt, and the numbers under the mouse.

    What is shown is as in `plot_maps`: one logarithmic colour scale for all maps, cuts as white dashed lines. There is
    no slider where there is nothing to choose. Returns a plotly figure; plotly is imported here.

    Parameters
    ----------
    ds : xr.Dataset
        An attention dataset.
    layers, steps : sequence of int, optional
        Labels to carry along; all of them without, but of the steps only as many, spread evenly, as make `MOST_MAPS`
        maps.
    prompt, head : optional
        One video, one head, instead of a slider over all; the head slider begins with the mean.
    branch : str
        The guidance branch.
    cmap : str
        Name of a plotly colour scale.

    Raises
    ------
    InputError
        A layer, step, prompt, branch or head was not recorded.

    Examples
    --------
    >>> from attnscope import synthetic
    >>> figure = figure_maps(synthetic.example(), layers=[1, 4])
    >>> [slider.currentvalue.prefix for slider in figure.layout.sliders]
    ['layer ', 'step ', 'head ']
    >>> len(figure.data)  # two layers, three steps, the mean and two heads
    18
    """
    from plotly import graph_objects

    prompts = list(ds[PROMPT].values) if PROMPT in ds.dims and prompt is None else [prompt]
    num_heads = ds.sizes.get(HEAD, 1)
    heads = [None, *ds[HEAD].values.tolist()] if num_heads > 1 and head is None else [head]
    views = {(p, h): view_of(ds, prompt=p, branch=branch, head=h) for p in prompts for h in heads}
    first = next(iter(views.values()))
    rows = choose_labels(first, LAYER, layers, at_most=len(first.labels(LAYER)))
    room = max(1, MOST_MAPS // (len(rows) * len(views)))
    columns = choose_labels(first, STEP, steps, at_most=min(room, len(first.labels(STEP))))
    places = [_Place(*each) for each in itertools.product(rows, columns, heads, prompts)]
    panels = [views[place.prompt, place.head].panel(layer=place.layer, step=place.step) for place in places]
    norm = shared_scale(panels)
    low, high = float(np.log10(norm.vmin or 1e-4)), float(np.log10(norm.vmax or 1.0))
    at_first = _states(places, places[0])
    traces = [
        graph_objects.Heatmap(
            z=np.log10(np.where(panel <= 0, 10.0 ** (low - 1), panel)),
            customdata=panel,
            coloraxis="coloraxis",
            hovertemplate=_hover(first, place),
            **{name: values[index] for name, values in at_first.items()},
        )
        for index, (place, panel) in enumerate(zip(places, panels, strict=True))
    ]
    figure = graph_objects.Figure(traces)
    figure.update_layout(_layout(first, low, high, cmap), sliders=_sliders(views, places))
    return figure


def _hover(view: View, place: _Place) -> str:
    step = view.step_title(place.step).replace("\n", ", ")
    head = "mean" if place.head is None else f"head {place.head}"
    where = f"layer {place.layer}, {step}, {head}"
    return f"query frame %{{y}}, key frame %{{x}}<br>share %{{customdata:.2e}}<extra>{where}</extra>"


def _states(places: list[_Place], at: _Place) -> dict[str, list[object]]:
    """What every slider says of every map when it points at one: each slider owns properties that no other touches.

    Plotly's sliders know nothing of each other. A map shows if its step is visible, its layer opaque, and neither its
    prompt nor its head has been moved off the axes.
    """
    return {
        "visible": [place.step == at.step for place in places],
        "opacity": [float(place.layer == at.layer) for place in places],
        "hoverinfo": ["all" if place.layer == at.layer else "skip" for place in places],
        "y0": [0 if place.head == at.head else _ASIDE for place in places],
        "x0": [0 if place.prompt == at.prompt else _ASIDE for place in places],
    }


_OWNED = {"layer": ("opacity", "hoverinfo"), "step": ("visible",), "head": ("y0",), "prompt": ("x0",)}


def _sliders(views: dict[tuple[int | str | None, int | None], View], places: list[_Place]) -> list[Document]:
    view = next(iter(views.values()))
    common = {"x": 0.0, "len": 1.0, "pad": {"t": 8, "b": 0}, "tickcolor": _theme.MUTED}
    sliders: list[Document] = []
    for dim, owned in _OWNED.items():
        labels = list(dict.fromkeys(getattr(place, dim) for place in places))
        if len(labels) < 2:
            continue
        moves = []
        for label in labels:
            at = next(place for place in places if getattr(place, dim) == label)
            change = {name: values for name, values in _states(places, at).items() if name in owned}
            lines = {"shapes": _cut_lines(views[label, at.head])} if dim == "prompt" else {}
            moves.append({"label": _name(view, dim, label), "method": "update", "args": [change, lines]})
        below = -0.14 - 0.2 * len(sliders)
        sliders.append({**common, "steps": moves, "currentvalue": {"prefix": f"{dim} "}, "y": below})
    return sliders


def _name(view: View, dim: str, label: int | None) -> str:
    if dim == "step" and label is not None:
        return view.step_title(label).removeprefix("step ").replace("\n", ", ")
    return "mean" if label is None else str(label)


def _cut_lines(view: View) -> list[Document]:
    dashed = {"color": "white", "width": 1.5, "dash": "dash"}
    ends = (-0.5, len(view.shot) - 0.5)
    return [
        {"type": "line", "line": dashed, **place}
        for cut in (view.cuts if view.spans else [])
        for place in (
            {"x0": cut - 0.5, "x1": cut - 0.5, "y0": ends[0], "y1": ends[1]},
            {"y0": cut - 0.5, "y1": cut - 0.5, "x0": ends[0], "x1": ends[1]},
        )
    ]


def _layout(view: View, low: float, high: float, cmap: str) -> Document:
    num_frames = len(view.shot)
    decades = np.arange(np.ceil(low), np.floor(high) + 1)
    bar = {
        "title": {"text": "share of the query frame's attention (log scale)", "side": "right"},
        "tickvals": decades.tolist(),
        "ticktext": [f"{10.0**decade:g}" for decade in decades],
    }
    # a fixed range: what stands aside must not widen the axes
    axis = {"constrain": "domain", "showgrid": False, "zeroline": False, "autorange": False}
    return {
        "width": 640,
        "height": 900,
        "margin": {"l": 60, "r": 20, "t": 20, "b": 340},
        "plot_bgcolor": _theme.NOT_RECORDED,
        "coloraxis": {"colorscale": cmap, "cmin": low, "cmax": high, "colorbar": bar},
        "shapes": _cut_lines(view),
        "xaxis": {**axis, "range": [-0.5, num_frames - 0.5], "title": {"text": "key frame (latent)"}},
        "yaxis": {
            **axis,
            "range": [num_frames - 0.5, -0.5],
            "title": {"text": "query frame"},
            "scaleanchor": "x",
        },
    }
