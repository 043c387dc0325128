"""How procedural scenes are painted: places with a texture, subjects with a shape. Numpy only.

Legend: x, y (T, H, W) world coordinates of every pixel; colours RGB in [0, 1]; pixel (T,) world size of one pixel.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from attnscope._types import Floats

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.85, 0.15, 0.15),
    "orange": (0.95, 0.55, 0.10),
    "yellow": (0.95, 0.88, 0.20),
    "green": (0.15, 0.65, 0.25),
    "teal": (0.10, 0.60, 0.62),
    "blue": (0.15, 0.30, 0.85),
    "navy": (0.08, 0.10, 0.35),
    "purple": (0.50, 0.20, 0.70),
    "pink": (0.95, 0.60, 0.75),
    "white": (0.95, 0.95, 0.95),
    "gray": (0.50, 0.50, 0.52),
    "black": (0.06, 0.06, 0.06),
}
"""Colours of places and subjects."""

SUBJECT_COLOURS: tuple[str, ...] = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")


def _blend(value: Floats) -> Floats:
    """Turn a signed field into a soft-edged two-colour weight."""
    return np.asarray(np.clip(0.5 + 2.5 * value, 0, 1))


TEXTURES: dict[str, Callable[[Floats, Floats, float], Floats]] = {
    "stripes": lambda x, y, phase: _blend(np.sin(2 * np.pi * (1.1 * x + phase)) + 0 * y),
    "bands": lambda x, y, phase: _blend(np.sin(2 * np.pi * (1.1 * y + phase)) + 0 * x),
    "checks": lambda x, y, phase: _blend(
        np.sin(2 * np.pi * (0.8 * x + phase)) * np.sin(2 * np.pi * (0.8 * y + phase))
    ),
    "dots": lambda x, y, phase: _blend(
        np.cos(2 * np.pi * (1.0 * x + phase)) + np.cos(2 * np.pi * (1.0 * y + phase)) - 0.6
    ),
    "horizon": lambda x, y, phase: _blend(3 * (y - 0.5 * (phase - 0.5) - 0.12 * np.sin(3 * x + 6 * phase))),
    "rings": lambda x, y, phase: _blend(np.sin(2 * np.pi * (1.2 * np.hypot(x - phase + 0.5, y) + phase))),
    "hills": lambda x, y, phase: _blend(
        4 * (y - 0.6 * (phase - 0.5) - 0.12 * np.sin(2.5 * x + 2 * np.pi * phase))
    ),
    "slope": lambda x, y, phase: _blend(
        4 * (y + (0.7 if phase < 0.5 else -0.7) * x - 1.2 * (phase % 0.5 - 0.25))
    ),
    "columns": lambda x, y, phase: _blend(2 * np.sin(2 * np.pi * (0.8 * x + phase)) + 0 * y),
}
"""Weight of the second colour at (x, y), for a texture with that phase."""


def _radius_of_star(x: Floats, y: Floats) -> Floats:
    return np.asarray(0.25 * (1 + 0.35 * np.cos(5 * np.arctan2(y, x))))


SHAPES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "ball": lambda x, y: np.hypot(x, y) - 0.26,
    "box": lambda x, y: np.maximum(np.abs(x), np.abs(y)) - 0.22,
    "diamond": lambda x, y: (np.abs(x) + np.abs(y)) * 0.8 - 0.24,
    "cross": lambda x, y: np.maximum(
        np.minimum(np.abs(x), np.abs(y)) - 0.09, np.maximum(np.abs(x), np.abs(y)) - 0.3
    ),
    "star": lambda x, y: np.hypot(x, y) - _radius_of_star(x, y),
    "triangle": lambda x, y: np.maximum(0.87 * np.abs(x) - 0.5 * y, y) - 0.16,
    "ring": lambda x, y: np.abs(np.hypot(x, y) - 0.2) - 0.06,
}
"""Signed distance-like fields: negative inside the subject."""


def draw_texture(name: str, colours: tuple[str, str], x: Floats, y: Floats, phase: float) -> Floats:
    """Paint a place: (T, H, W, 3)."""
    first, second = (np.array(COLOURS[colour]) for colour in colours)
    weight = TEXTURES[name](x, y, phase)[..., None]
    return np.asarray((1 - weight) * first + weight * second)


def shade(place: Floats, x: Floats, y: Floats, phase: float, strength: float) -> Floats:
    """Light a place from one side, which goes once around with the phase: (T, H, W, 3)."""
    towards_light = np.cos(2 * np.pi * phase) * x + np.sin(2 * np.pi * phase) * y
    return np.asarray(place * (1 + strength * towards_light)[..., None])


def draw_subject(
    place: Floats,
    shape: str,
    colour: str,
    x: Floats,
    y: Floats,
    centre_x: Floats,
    centre_y: Floats,
    pixel: Floats,
    size: float,
) -> Floats:
    """Paint the subject over the place, lit from above, with a dark outline and soft edges."""
    u = x - centre_x[:, None, None]
    v = y - centre_y[:, None, None]
    distance = SHAPES[shape](u / size, v / size) * size
    edge = pixel[:, None, None]
    inside = np.clip(0.5 - distance / edge, 0, 1)[..., None]
    rim = np.clip(0.5 - (distance - 0.05) / edge, 0, 1)[..., None]
    light = np.clip(1.05 - 0.8 * v, 0.7, 1.25)[..., None]
    body = np.clip(np.array(COLOURS[colour]) * light, 0, 1)
    outlined = (1 - rim) * place + rim * 0.08
    return np.asarray((1 - inside) * outlined + inside * body)
