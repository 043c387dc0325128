"""Is it the character? Colour and shape of what stands in front of a place, read from pixels without a network.

The colour of a character is in no place of its films. So the pixels that are nearest to a colour which the place does
not have are the character, and their outline, scaled to one size, is held against outlines of drawn subjects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import label

from attnscope.dataset import COLOURS, WORLDS, Scene, Subject, View, render, sample_scene

Frames = NDArray[np.uint8]
SIDE = 24
SETTLED_FRAME = 4
"""Frames after a cut that the decoder may have blurred."""


def give_character(seed: int, subject: Subject, invent: Callable[[int, int], Scene], num_shots: int) -> Scene:
    """A film of the character: the first of a thousand that belong to the seed whose places lack its colour."""
    for attempt in range(1000):
        scene = invent(1000 * seed + attempt, num_shots)
        if all(subject.colour not in view.colours for view in scene.views):
            return replace(scene, subject=subject)
    raise RuntimeError(f"no place without {subject.colour} in 1000 films from seed {1000 * seed}")


def read_shot(frames: Frames, view: View, world: str, least_share: float) -> tuple[str | None, str | None]:
    """Colour and shape of what is in front of the place, each by a vote of the frames; None where nothing is."""
    votes = [read_picture(frame, view, world, least_share) for frame in frames]
    colour = Counter(colour for colour, _ in votes).most_common(1)[0][0]
    shape = Counter(shape for _, shape in votes).most_common(1)[0][0]
    return colour, shape


def read_picture(
    frame: NDArray[np.uint8], view: View, world: str, least_share: float
) -> tuple[str | None, str | None]:
    """Colour and shape in one picture."""
    names = [*WORLDS[world].subject_colours, *view.colours]
    palette = np.array([COLOURS[name] for name in names] + [(0.08, 0.08, 0.08)])  # the outline of a subject
    nearest = ((frame[..., None, :] / 255.0 - palette) ** 2).sum(-1).argmin(-1)
    spots = {
        name: largest_piece(nearest == index) for index, name in enumerate(names) if name not in view.colours
    }
    colour = max(spots, key=lambda name: int(spots[name].sum()))
    if spots[colour].mean() < least_share:
        return None, None
    return colour, nearest_shape(spots[colour], world)


def largest_piece(spot: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest piece of a spot that hangs together: edges of a place blend into thin lines of a third colour."""
    pieces, num = label(spot)
    return np.asarray(pieces == np.bincount(pieces.ravel())[1:].argmax() + 1) if num else spot


def nearest_shape(spot: NDArray[np.bool_], world: str) -> str:
    """The shape whose outline shares most with the spot, of all sizes a subject is drawn in."""
    seen = to_one_size(spot)
    likeness = {
        shape: max(overlap(seen, outline) for outline in outlines(shape, world))
        for shape in WORLDS[world].shapes
    }
    return max(likeness, key=lambda shape: likeness[shape])


@cache
def outlines(shape: str, world: str) -> tuple[NDArray[np.bool_], ...]:
    """Outlines of a drawn subject, one a framing: white on black, where nothing else is white."""
    found = []
    for framing in WORLDS[world].zoom:
        view = View(
            WORLDS[world].textures[0],
            ("black", "black"),
            framing,
            "stays still",
            "static camera",
            0.0,
            (0.0, 0.0),
        )
        scene = sample_scene(0, num_shots=1, num_frames=1, min_shot_latent_frames=1, world=world)
        picture = render(replace(scene, views=(view,), subject=Subject(shape, "white")))[0]
        found.append(to_one_size(picture.min(-1) > 127))
    return tuple(found)


def to_one_size(spot: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Cut out the box around a spot and bring it to one side length."""
    rows, columns = np.flatnonzero(spot.any(1)), np.flatnonzero(spot.any(0))
    box = spot[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scaled = Image.fromarray(np.asarray(255 * box, np.uint8)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(scaled) > 127


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Share of the area of both that they have in common."""
    return float((one & other).sum() / max((one | other).sum(), 1))
