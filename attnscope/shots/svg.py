"""Small drawings as SVG text, by which plans, rules and films show themselves in a notebook.

Ink is the text colour of the page, so that they can be read in light and in dark.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

SHOT_COLOURS = ("#E69F00", "#56B4E9", "#CC79A7", "#009E73", "#F0E442", "#0072B2")
"""Of the shots, in turn: out of Okabe and Ito's palette, which stays apart under colour vision deficiencies."""

_WIDTH, _FONT = 560, "font-family: system-ui, sans-serif; font-size: 11px"
_VISIBLE, _HIDDEN = (0, 114, 178), 0.06


def ruler(edges: Sequence[int], marks: Sequence[str], *, asked: Sequence[int] = (), title: str = "") -> str:
    """Draw shots as a ruler: a coloured block for each, what stands at each edge below, a tick where cuts were asked.

    Parameters
    ----------
    edges
        Where shots begin, and where the last one ends; from 0, in any unit.
    marks
        What is written below each edge.
    asked
        Where cuts were asked for, in the same unit.
    title
        Read out in the place of the picture.

    Examples
    --------
    >>> drawn = ruler([0, 24, 49], ["0", "24", "49"], title="2 shots")
    >>> drawn.count("<rect"), drawn.count("<text")
    (2, 5)
    """
    scale = (_WIDTH - 40) / max(edges[-1], 1)
    parts = []
    for shot, (start, stop) in enumerate(pairwise(edges)):
        x, width = 20 + start * scale, (stop - start) * scale
        colour = SHOT_COLOURS[shot % len(SHOT_COLOURS)]
        parts.append(
            f'<rect x="{x:.1f}" y="6" width="{max(width - 1, 1):.1f}" height="22" rx="3" fill="{colour}"/>'
        )
        parts.append(_text(x + width / 2, 21, f"shot {shot + 1}" if width > 44 else str(shot + 1), "#1b1b24"))
    parts += [
        f'<path d="M{20 + place * scale:.1f} 2v30" stroke="currentColor" stroke-dasharray="2 2"/>'
        for place in asked
    ]
    parts += [_text(20 + edge * scale, 44, mark) for edge, mark in zip(edges, marks, strict=True)]
    return _drawing(_WIDTH, 50, parts, title)


def relation(values: NDArray[np.float64], *, title: str = "") -> str:
    """Draw who may look at whom: a cell for each pair, the stronger the more it counts, crossed out what is hidden.

    Parameters
    ----------
    values
        (query groups, key groups) in natural logarithms: 0 visible, -inf hidden, as `masks.compile_rule` gives them.
    title
        Read out in the place of the picture.

    Examples
    --------
    >>> relation(np.array([[0.0, -np.inf]])).count("<rect")
    2
    """
    rows, columns = values.shape
    cell = max(4, min(14, 240 // max(rows, columns)))
    weights = np.exp(np.minimum(values, 0.0))
    parts = []
    for row, column in np.ndindex(rows, columns):
        weight = float(weights[row, column])
        shade = f"fill-opacity:{_HIDDEN + (1 - _HIDDEN) * weight:.3g}"
        colour = "currentColor" if weight == 0 else "rgb" + str(_VISIBLE).replace(" ", "")
        place = f'x="{30 + column * cell}" y="{2 + row * cell}" width="{cell - 1}" height="{cell - 1}"'
        parts.append(f'<rect {place} fill="{colour}" style="{shade}"/>')
    width, height = 34 + columns * cell, 20 + rows * cell
    parts.append(_text(30 + columns * cell / 2, height - 5, "key frame"))
    middle = 2 + rows * cell / 2
    turned = f'transform="rotate(-90 18 {middle:.1f})"'
    parts.append(_text(18, middle, "query frame", attributes=turned))
    return _drawing(max(width, 120), height, parts, title)


def card(heading: str, *parts: str, facts: Sequence[tuple[str, object]] = ()) -> str:
    """Put a drawing under one sentence, and facts as a table below; the sentence and facts are text, parts are HTML.

    >>> card("a < b", facts=[("layers", "7-28")])[:37]
    '<div><p style="margin:4px 0">a &lt; b'
    """
    rows = "".join(
        f'<tr><td style="text-align:left">{_escape(name)}</td><td style="text-align:left">{_escape(value)}</td></tr>'
        for name, value in facts
    )
    table = f"<table>{rows}</table>" if rows else ""
    return f'<div><p style="margin:4px 0">{_escape(heading)}</p>{"".join(parts)}{table}</div>'


def _escape(value: object) -> str:
    return html.escape(str(value))


def _text(x: float, y: float, words: str, colour: str = "currentColor", attributes: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" fill="{colour}" {attributes}>{_escape(words)}</text>'


def _drawing(width: int, height: int, parts: Sequence[str], title: str) -> str:
    named = f"<title>{_escape(title)}</title>" if title else ""
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size} style="{_FONT}; max-width:100%">'
        f"{named}{''.join(parts)}</svg>"
    )
