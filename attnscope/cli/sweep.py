"""`attnscope sweep`: change the attention in one place after another, and see which change cuts the film."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from attnscope._types import Document
from attnscope.cli._numbers import Count
from attnscope.cli._options import (
    USUAL_FILMS,
    USUAL_LOADING,
    USUAL_SAMPLING,
    AsJson,
    Films,
    Loading,
    Out,
    Sampling,
)
from attnscope.cli._output import print_json, print_table
from attnscope.errors import InputError, quote

if TYPE_CHECKING:
    import xarray as xr

_MEASURES = ("recall", "precision", "transition_control")


def sweep_command(
    over: Literal["layers", "heads", "steps", "strength", "jitter"],
    /,
    *,
    out: Out,
    loading: Loading = USUAL_LOADING,
    values: str | None = None,
    window: Count = 1,
    by_layer: bool = False,
    layers: str | None = None,
    png: Path | None = None,
    films: Films = USUAL_FILMS,
    sampling: Sampling = USUAL_SAMPLING,
    as_json: AsJson = False,
) -> None:
    """Change the attention in one place after another, and see which change cuts the film.

    Every film is made without a mask, with the mask in all layers that are named, and once for each value between.
    Killed at any moment, the same command goes on where it stopped.

    Parameters
    ----------
    over
        What differs: layers, heads or steps where the mask holds; its strength; how far its cuts jitter from layer to
        layer.
    out
        The folder to write to, or to go on in.
    values
        The values, with semicolons between: "1-6;7-17;18-28", or "1;2;4". By default windows of --window labels, or
        usual numbers.
    window
        How many labels make one window.
    by_layer
        Over heads: each layer by itself, a grid of layers and heads.
    layers
        The layers of the whole mask; by default 7-28 of a DiT, the last six of a UNet.
    png
        A picture to write, with a PDF beside it: a grid of cells and cuts, or a point for each value.
    """
    if png is not None and (png.suffix.lower() != ".png" or not png.resolve().parent.is_dir()):
        raise InputError(
            expected="a .png file in a folder that is there",
            got=quote(str(png)),
            where="as --png",
            remedy="write --png effect.png",
        )
    from attnscope.probing.progress import progress_bar
    from attnscope.sweeping.sweep import sweep as make_films

    loading.require_layers(layers or "all")
    with progress_bar(f"sweep over {over}") as tell:
        swept = make_films(
            loading.model,
            over,
            out=out,
            values=_values(values),
            window=window,
            by_layer=by_layer,
            layers=layers,
            on_film=tell,
            loading=loading.settings_for({**films.frames_for(loading.model), **sampling.given}),
            **films.settings_for(loading.model),
            **sampling.arguments(),
        )
    document = {
        "folder": str(out),
        "over": over,
        "model": loading.model,
        "rule": films.rule,
        "layers": swept.layers.sel(cell="full").item(),
        "num_films": films.num_films,
        "num_seeds": films.seeds,
        "cells": _cells(swept),
        "png": None if png is None else str(png),
    }
    if png is not None:
        _draw(swept, over, by_layer, png)
    if as_json:
        print_json(document)
    else:
        _say(document)


def _values(text: str | None) -> list[str] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(";")]
    if not all(parts):
        raise InputError(
            expected="values with semicolons between",
            got=quote(text),
            where="as --values",
            remedy='write "1-6;7-17"',
        )
    return parts


def _cells(swept: xr.Dataset) -> list[Document]:
    """What each cell came to: means with the range they would likely fall in for other prompts."""
    from attnscope.structure import causal_effect

    effects = {measure: causal_effect(swept, measure) for measure in _MEASURES}
    rows = []
    for place, name in enumerate(swept["cell"].values.tolist()):
        row: Document = {"cell": name}
        row |= {label: swept[label].values[place].item() for label in ("layers", "heads", "steps")}
        for measure, effect in effects.items():
            at = effect.isel(cell=place)
            row[measure] = float(at["mean"])
            row[f"{measure}_interval"] = [float(at["low"]), float(at["high"])]
        row["effect"] = float(effects["recall"]["effect"].values[place])
        row |= {name: int(swept[name].isel(cell=place).sum()) for name in ("num_detected", "num_matched")}
        rows.append(row)
    return rows


def _say(document: Document) -> None:
    columns = ("cell", "recall", "from", "to", "precision", "transition control", "effect on recall")
    rows = [
        (
            *(row["cell"], row["recall"], *row["recall_interval"]),
            *(row["precision"], row["transition_control"], row["effect"]),
        )
        for row in document["cells"]
    ]
    of = f"{document['num_films']} films, {document['num_seeds']} seeds"
    print_table(f"Sweep over {document['over']}, {of}", columns, rows)
    print(f"films     {document['folder']}/films, a strip of pictures beside each")


def _draw(swept: xr.Dataset, over: str, by_layer: bool, png: Path) -> None:
    from attnscope.plots import plot_effect_grid, plot_effects, save_figure
    from attnscope.structure import causal_effect, effect_grid

    if over == "heads" and by_layer:
        figure = plot_effect_grid(effect_grid(swept, rows="layers", columns="heads"))
    elif over in ("layers", "heads", "steps") and swept.sizes["prompt"] > 1:
        figure = plot_effect_grid(effect_grid(swept, rows="cell", columns="cuts_frame"))
    else:
        figure = plot_effects(causal_effect(swept))
    save_figure(figure, png.with_suffix(""))
