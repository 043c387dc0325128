"""A study as one page that needs nothing beside it: numbers beside the paper's, figures, what cannot be compared."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import xarray as xr

from attnscope import plots, structure
from attnscope._types import Document
from attnscope.plots.saving import save_figure
from attnscope.reproducing import paper
from attnscope.reproducing.prompts import PlannedFilm
from attnscope.storage.disk import write_durably

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2430; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .25rem .8rem; text-align: right }
td:first-child, th:first-child { text-align: left } tr { border-bottom: 1px solid #d8dde5 }
h3 { font-size: 1rem; margin: 1.2rem 0 0 } .paper { color: #5a6472 } img { max-width: 100% } li { margin: .2rem 0 }
"""
_NAMES = {
    "contrast": "contrast (own shot / across a cut)",
    "adjusted_contrast": "contrast, row, column and distance taken out",
    "correlation": "correlation with shared shots",
    "adjusted_r": "correlation, row, column and distance taken out",
}


def write_page(result: Document, attention: xr.Dataset, films: Sequence[PlannedFilm], out: Path) -> Path:
    """Write `page.html` and the figures in it; the same result gives the same page, byte for byte."""
    observed = result["observation"]
    figures = _draw(attention, observed, out / "figures")
    parts = [
        f"<h1>CineTrans on {html.escape(str(result['model']))}</h1>",
        f"<p>{_say_scope(result)}</p>",
        "<h2>Can these numbers be held against the paper's?</h2>",
        f"<p>{'Yes.' if result['comparable_with_paper'] else 'No:'}</p>{_list(result['reasons'])}",
        "<h2>Does attention follow the shots?</h2>",
        *_say_observed("Against the cuts that were asked for", observed["asked"]),
        *_say_observed(_say_found(observed["found"], result["num_films"]), observed["found"]),
        *(f'<p><img alt="{name}" src="{source}"></p>' for name, source in figures.items()),
        "<h2>Does a mask cut where it is told to?</h2>",
        _list(f"{name}: {words}" for name, words in result["conditions"].items()),
        _list(f"{name} is left out: {reason}" for name, reason in result["left_out"].items()),
        _scores(result["scores"]),
        "<h2>What the paper reports</h2>",
        _table(
            ("", *(name.replace("_", " ") for name in paper.COLUMNS)),
            ((name, *row.values()) for name, row in result["published"].items()),
        ),
        "<h2>Films</h2>",
        _list(f"{film.number}: {film.prompt}" for film in films),
    ]
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>CineTrans</title><style>{_STYLE}</style>'
    path = out / "page.html"
    write_durably(path, f"{page}{''.join(parts)}</html>\n".encode())
    return path


def _say_scope(result: Document) -> str:
    layers = result["layers"]
    return html.escape(
        f"Films: {result['num_films']}, of {result['frames']} frames, {result['num_steps']} steps; prompts: "
        f"{result['prompts']}; masks in layers {layers[0]}-{layers[-1]}; every condition of a film begins with the "
        f"noise of the same seed. Text is not masked by shot. Source: {result['source']}."
    )


def _say_observed(title: str, found: Document) -> list[str]:
    """What attention shows of one kind of cuts; the title alone where no film has any."""
    if "numbers" not in found:
        return [f"<h3>{html.escape(title)}</h3>"]
    tables = (
        _table(
            (words, "value", "null", "paper"),
            (
                (_NAMES[name], row["value"], row["null"], row["paper"] if kind == "numbers" else None)
                for name, row in found[kind].items()
            ),
        )
        for kind, words in (("numbers", "all layers"), ("masked_layers", "masked layers"))
    )
    return [f"<h3>{html.escape(title)}</h3>", *tables, f"<p>{_say_test(found['cut_test'])}</p>"]


def _say_found(found: Document, num_films: int) -> str:
    return (
        f"Against the cuts that {found['detector']} found in the films: {found['num_films_cut']} of {num_films} films "
        "have any"
    )


def _say_test(tested: Document) -> str:
    if tested["reason"]:
        return html.escape(f"No p: {tested['reason']}.")
    return html.escape(
        f"Other cuts would do as well with p = {tested['p']:.3g} ({tested['num_arrangements']} arrangements, "
        f"{tested['null']}); adjusted r {tested['adjusted_r']:.3f}, under the null {tested['null_mean']:.3f}."
    )


def _scores(lines: list[Document]) -> str:
    names = (*paper.COLUMNS, "recall", "f1")
    rows = []
    for line in lines:
        rows.append((line["condition"], *(line[name]["mean"] if name in line else None for name in names)))
        if any(line[name]["paper"] is not None for name in paper.COLUMNS):
            rows.append(("paper", *(line[name]["paper"] if name in line else None for name in names)))
    reasons = {
        f"{name.replace('_', ' ')}: {reason}"
        for line in lines
        for name in paper.COLUMNS
        for reason in line[name]["why_not"]
    }
    return _table(("", *(name.replace("_", " ") for name in names)), rows) + _list(sorted(reasons))


def _draw(attention: xr.Dataset, observed: Document, folder: Path) -> dict[str, str]:
    """The figures of the page as addresses that hold the picture itself, and as files."""
    folder.mkdir(parents=True, exist_ok=True)
    maps = structure.mean_map(attention.sel(branch="cond"))
    first = attention.isel(prompt=[0])
    drawn = {
        "profile": plots.plot_profile(
            structure.profile(structure.contrast(maps), scale="log", level=None),
            structure.profile(structure.correlation(maps), level=None),
            distance_only=structure.profile(structure.distance_only_contrast(maps), scale="log", level=None),
            adjusted=structure.profile(structure.adjusted_r(maps), level=None),
        ),
        "maps": plots.plot_maps(first),
        **{
            f"layers-by-steps-{kind}": _draw_grid(observed[kind]["by_layer_and_step"], words)
            for kind, words in (("asked", "cuts asked for"), ("found", "cuts found"))
            if "by_layer_and_step" in observed[kind]
        },
    }
    found = {}
    for name, figure in drawn.items():
        save_figure(figure, folder / name)
        picture = BytesIO()
        figure.savefig(picture, format="png", dpi=160, metadata={"Software": None})
        found[name] = f"data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}"
    return found


def _draw_grid(grid: Document, words: str) -> plots.Page:
    """Adjusted contrast, a row a layer and a column a step, in powers of two: 0 where attention shows no shots."""
    values = np.log2(np.array(grid["adjusted_contrast"], dtype=np.float64))
    table = xr.DataArray(values, {"layer": grid["layers"], "step": grid["steps"]}, ("layer", "step"))
    return plots.plot_table(
        table.where(np.isfinite(table)), centre=0, label="adjusted contrast, log2", title=words
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    top = "".join(f"<th>{html.escape(each)}</th>" for each in head)
    body = "".join(
        f"<tr{' class=paper' if row[0] == 'paper' else ''}>{''.join(map(_cell, row))}</tr>" for row in rows
    )
    return f"<table><tr>{top}</tr>{body}</table>"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"<td>{value:.3f}</td>"
    return f"<td>{'–' if value is None else html.escape(str(value))}</td>"


def _list(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{html.escape(line)}</li>' for line in lines)}</ul>"
