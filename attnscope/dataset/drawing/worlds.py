"""What films are made of: the places, subjects, shot sizes and speeds of each world that scenes can be drawn in.

World coordinates: the short side of a wide shot spans [-1, 1]; x to the right, y down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from attnscope.dataset.drawing import painting
from attnscope.errors import InputError, quote

MOTIONS: Mapping[str, tuple[int, int]] = {
    "stays still": (0, 0),
    "drifts left": (-1, 0),
    "drifts right": (1, 0),
    "rises": (0, -1),
    "sinks": (0, 1),
}
"""Direction (x, y) in which a subject moves."""

CAMERAS: Mapping[str, tuple[int, int]] = {
    "static camera": (0, 0),
    "camera pans left": (-1, 0),
    "camera pans right": (1, 0),
    "camera zooms in": (0, -1),
    "camera zooms out": (0, 1),
}
"""Direction of a pan (x), and whether the picture widens or narrows."""


@dataclass(frozen=True)
class World:
    """Everything that can be in a film of one kind, and how large and how fast it is.

    ``zoom`` is how much of a wide shot each framing shows; ``size`` enlarges subjects; ``speed`` and ``pan`` are world
    units (of the shot's own size) and ``zoom_rate`` a share, each for a second; ``shading`` is how much brighter a
    place is towards the light. ``kept_in_place`` are the fields of a view that a cut within one place leaves alone.
    """

    textures: tuple[str, ...]
    place_colours: tuple[str, ...]
    shapes: tuple[str, ...]
    subject_colours: tuple[str, ...]
    zoom: Mapping[str, float]
    size: float
    speed: float
    pan: float
    zoom_rate: float
    shading: float
    kept_in_place: tuple[str, ...]

    def words(self) -> set[str]:
        """Every word with which a view or a subject of this world can be described."""
        phrases = [*MOTIONS, *CAMERAS, *self.zoom]
        names = {*self.shapes, *self.subject_colours, *self.textures, *self.place_colours}
        return {word for phrase in phrases for word in phrase.split()} | names


WORLDS: Mapping[str, World] = {
    "textured": World(
        textures=("stripes", "bands", "checks", "dots", "horizon", "rings"),
        place_colours=tuple(painting.COLOURS),
        shapes=("ball", "box", "diamond", "cross", "star"),
        subject_colours=painting.SUBJECT_COLOURS,
        zoom={"wide": 1.0, "medium": 0.72, "close": 0.5},
        size=1.0,
        speed=0.3,
        pan=0.24,
        zoom_rate=0.12,
        shading=0.0,
        kept_in_place=("texture", "colours"),
    ),
    "plain": World(
        textures=("hills", "slope", "columns"),
        place_colours=painting.SUBJECT_COLOURS,
        shapes=("ball", "box", "triangle", "cross", "ring"),
        subject_colours=painting.SUBJECT_COLOURS,
        zoom={"wide": 1.0, "medium": 0.75, "close": 0.55},
        size=1.25,
        speed=0.1,
        pan=0.08,
        zoom_rate=0.05,
        shading=0.15,
        kept_in_place=("texture", "colours", "phase"),
    ),
}
"""``textured``: busy places, small subjects, quick moves: hard for cut detectors. ``plain``: softly lit places of two
colours, one large subject, slow moves: what a small model can learn and an eye can read."""

DEFAULT_WORLD = "plain"
"""The world of the films that the embedded models were trained on."""


def find_world(name: str) -> World:
    """Find a world by its name.

    Raises
    ------
    InputError
        There is no such world.

    Examples
    --------
    >>> find_world("plain").shapes
    ('ball', 'box', 'triangle', 'cross', 'ring')
    """
    if name not in WORLDS:
        raise InputError(
            expected=f"a world ({', '.join(WORLDS)})",
            got=quote(name),
            where="for a drawn scene",
            remedy="give one of them",
        )
    return WORLDS[name]
