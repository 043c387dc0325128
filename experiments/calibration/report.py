"""The tables of docs/calibration.md, out of the cells that are there."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from cells import GAPS, NUMBERS_OF_CUTS
from films import KINDS

Cell = dict[str, Any]

SIZE = (0.03, 0.07)
COVERAGE = (0.93, 0.97)
FEWEST_REPEATS = 100
INTERVALS = ("adjusted contrast", "place-matched contrast")
NO_INTERVAL = ("adjusted r", "contrast", "r", "r, distance removed")
"""Printed without an interval: this is why."""


def read_cells(out: Path) -> dict[tuple[str, ...], Cell]:
    """All cells that any process has finished, by the parts of their names."""
    found = {}
    for path in sorted(out.glob("cells-*.jsonl")):
        for line in path.read_text().splitlines():
            cell = json.loads(line)
            found[tuple(cell.pop("cell").split("/"))] = cell
    return found


def print_tables(out: Path) -> None:
    """Print what is there."""
    every = read_cells(out)
    synthetic = {name[1:]: cell for name, cell in every.items() if name[0] == "synthetic"}
    if synthetic:
        _size(synthetic)
        _power(synthetic)
        _coverage(synthetic)
    _shares({name[1:]: cell for name, cell in every.items() if name[0] == "share"})
    _pooled({name[1:]: cell for name, cell in every.items() if name[0] == "pooled"})
    _gaps({name[1:]: cell for name, cell in every.items() if name[0] == "gap"})
    _real({name[1:]: cell for name, cell in every.items() if name[0] == "real"})


def _table(title: str, heads: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    heads = list(heads)
    print(f"\n{title}\n\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def _span(values: list[float]) -> str:
    """The lowest and the highest of several cells."""
    if not values:
        return ""
    low, high = min(values), max(values)
    return f"{low:.3f}" if len(values) == 1 else f"{low:.3f} to {high:.3f}"


def _with_p(cells: Iterable[Cell]) -> list[dict[str, Any]]:
    """Those cells in which p was given often enough to count how often it rejects."""
    return [cell["p"] for cell in cells if cell["p"]["repeats"] >= FEWEST_REPEATS]


def _grid(cells: dict[tuple[str, ...], Cell], contrast: str, films: list[str]) -> Iterable[list[str]]:
    """One row for each kind and length, one column for each number of films, over the pulls of frame 0."""
    by_place = defaultdict(list)
    for (kind, frames, _, number, value), cell in cells.items():
        if value == contrast:
            by_place[kind, frames, number].append(cell)
    for kind in KINDS:
        for frames in sorted({name[1] for name in cells}, key=int):
            there = [by_place[kind, frames, number] for number in films]
            if any(there):
                spans = (_span([each["rejected"] for each in _with_p(part)]) for part in there)
                yield [
                    kind,
                    frames,
                    *(span or "no p" if part else "" for span, part in zip(spans, there, strict=True)),
                ]


def _size(cells: dict[tuple[str, ...], Cell]) -> None:
    films = sorted({name[3] for name in cells}, key=int)
    heads = ("plans", "latent frames", *(f"{number} films" for number in films))
    _table("Share of p <= .05, contrast 1 (three pulls of frame 0)", heads, _grid(cells, "1", films))
    given = _with_p(cell for name, cell in cells.items() if name[4] == "1")
    outside = [each for each in given if not SIZE[0] <= each["rejected"] <= SIZE[1]]
    weight = sum(each["repeats"] for each in given)
    mean = sum(each["rejected"] * each["repeats"] for each in given) / weight
    shown = ", ".join(f"{each['rejected']:.3f} of {each['repeats']}" for each in outside)
    print(f"\n{len(given)} cells with a p, {weight} repetitions, together {mean:.4f}")
    print(f"outside of .03 to .07: {len(outside)} ({shown or 'none'})")


def _power(cells: dict[tuple[str, ...], Cell]) -> None:
    films = sorted({name[3] for name in cells}, key=int)
    heads = ("plans", "latent frames", *(f"{number} films" for number in films))
    _table("Share of p <= .05, contrast 1.3", heads, _grid(cells, "1.3", films))


def _coverage(cells: dict[tuple[str, ...], Cell]) -> None:
    rows = []
    for statistic in (*INTERVALS, *NO_INTERVAL):
        by_films = defaultdict(list)
        for name, cell in cells.items():
            value = cell["coverage"].get(statistic)
            if value is not None:
                by_films[int(name[3])].append(value)
        row = [statistic]
        for number in (3, 5, 10, 40):
            values = by_films[number]
            row.append(f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})" if values else "")
        inside = [COVERAGE[0] <= value <= COVERAGE[1] for number in (5, 10, 40) for value in by_films[number]]
        rows.append([*row, f"{sum(inside)} of {len(inside)}"])
    heads = ("statistic", "3 films", "5", "10", "40", "cells of 5 films and more in .93 to .97")
    _table("How often the interval of 95 % holds: mean over cells (lowest to highest)", heads, rows)


def _shares(cells: dict[tuple[str, ...], Cell]) -> None:
    rows = []
    for films in sorted({name[0] for name in cells}, key=int):
        row = [films]
        for what in ("", "gain "):
            values = [
                value
                for name, cell in cells.items()
                if name[0] == films
                for key, value in cell.items()
                if key.startswith("gain") == bool(what)
            ]
            values = [value for value in values if np.isfinite(value)]
            row.append(
                f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})" if values else "none"
            )
        rows.append(row)
    if rows:
        _table(
            "Recall of sweeps and its gain over no mask: how often the interval of 95 % holds",
            ("films", "recall", "gain"),
            rows,
        )


def _pooled(cells: dict[tuple[str, ...], Cell]) -> None:
    by_films: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (films, numbers, _), cell in cells.items():
        by_films[films][numbers].extend(cell.values())
    rows = [
        [films, *(f"{np.mean(each):.3f} ({min(each):.3f} to {max(each):.3f})" for each in found.values())]
        for films, found in by_films.items()
    ]
    if rows:
        heads = ("films", *(f"{numbers} cuts" for numbers in NUMBERS_OF_CUTS))
        _table("Share of all cuts: how often the interval of 95 % holds", heads, rows)


def _gaps(cells: dict[tuple[str, ...], Cell]) -> None:
    by_size: dict[tuple[str, str], dict[str, Cell]] = defaultdict(dict)
    for (videos, reference, what), cell in cells.items():
        by_size[videos, reference][what] = cell
    rows = [
        [*size, f"{found['alike']['rejected']:.3f}"]
        + [f"{found[what]['holds']:.3f}" for what in GAPS if what != "alike"]
        for size, found in by_size.items()
        if set(found) == set(GAPS)
    ]
    if rows:
        _table(
            "Consistency gap: share of p <= .05 of two samples from one place; how often the interval holds",
            ("videos", "reference", "alarms", *(what for what in GAPS if what != "alike")),
            rows,
        )


def _real(cells: dict[tuple[str, ...], Cell]) -> None:
    rows = []
    for (model, kind, films), cell in cells.items():
        p, coverage = cell["p"], cell["coverage"]
        cover = [
            coverage.get(name)
            for name in ("place-matched contrast", "adjusted contrast, its own mean", "adjusted contrast, 1")
        ]
        rejected = "no p" if p["rejected"] is None else f"{p['rejected']:.3f}"
        rows.append(
            [model, kind, films, rejected, *("" if each is None else f"{each:.3f}" for each in cover)]
        )
    if rows:
        heads = (
            "model",
            "plans",
            "films",
            "heads with p <= .05",
            "place-matched holds 1",
            "adjusted holds its mean",
            "adjusted holds 1",
        )
        _table("One-shot films, imaginary cuts, all heads", heads, rows)
