"""The film itself, one picture a latent frame, with its shots underlined in their colours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from attnscope.errors import InputError
from attnscope.plots import _theme
from attnscope.plots._panels import axes_in
from attnscope.plots._view import View

Film = npt.NDArray[np.uint8]

_GAP = 0.03
_BAR = 0.05


def strip_height(film: Film, width: float) -> float:
    """Return the height in inches of a strip of that width, shot bars included."""
    tile = (width - _GAP * (len(film) - 1)) / len(film)
    return float(tile * film.shape[1] / film.shape[2] + 2 * _BAR)


def draw_strip(fig: Figure, film: Film, view: View, *, left: float, bottom: float, width: float) -> None:
    """Draw the pictures side by side, and below them a bar for each shot.

    Raises: InputError unless there is one picture (height, width, 3) for each latent frame.
    """
    if film.ndim != 4 or film.shape[-1] != 3 or len(film) != len(view.shot):
        raise InputError(
            expected=f"a picture for each of {len(view.shot)} latent frames, (frames, height, width, 3)",
            got=f"shape {film.shape}",
            where="as film of a figure",
            remedy="give the first video frame of each latent frame",
        )
    tile = (width - _GAP * (len(film) - 1)) / len(film)
    height = tile * film.shape[1] / film.shape[2]
    for index, picture in enumerate(film):
        ax = axes_in(fig, left + index * (tile + _GAP), bottom + 2 * _BAR, tile, height)
        ax.imshow(picture, interpolation="antialiased", aspect="auto", rasterized=True)
        ax.set_axis_off()
    for index, (start, stop) in enumerate(view.spans):
        bar = axes_in(fig, left + start * (tile + _GAP), bottom, (stop - start) * (tile + _GAP) - _GAP, _BAR)
        bar.add_patch(
            Rectangle((0, 0), 1, 1, facecolor=_theme.SHOT_COLOURS[index % len(_theme.SHOT_COLOURS)])
        )
        bar.set_axis_off()
