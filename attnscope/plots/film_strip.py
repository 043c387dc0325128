"""The film itself, one picture a latent frame: along the top of a page, or along both edges of its map."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.patches import Rectangle

from attnscope.errors import InputError
from attnscope.plots import _theme
from attnscope.plots._layout import Box, film_map
from attnscope.plots._page import Page
from attnscope.plots._panels import colour_bar, draw_map, label_frames, shared_scale
from attnscope.plots._view import View, choose_labels, scale_label, view_of
from attnscope.schema import LAYER, STEP

Film = npt.NDArray[np.uint8]

_GAP = 0.03
_BAR = 0.05


def plot_film(
    ds: xr.Dataset,
    film: Film,
    *,
    layer: int | None = None,
    step: int | None = None,
    prompt: int | str | None = None,
    branch: str = "cond",
    head: int | None = None,
    cmap: str = "viridis",
    width_in: float = _theme.WIDTH_TEXT_IN,
    title: str | None = None,
) -> Page:
    """Draw a film along its own map: over each column the picture looked at, before each row the one that looks.

    Parameters
    ----------
    ds : xr.Dataset
        An attention dataset.
    film : array
        One picture (height, width, 3), uint8, a latent frame.
    layer, step, head : int, optional
        The last layer recorded, the mean over steps and the mean over heads without.
    prompt, branch, cmap, width_in
        As in `plot_maps`.

    Raises
    ------
    InputError
        A layer, step, prompt, branch or head was not recorded, or the film has another length.

    Examples
    --------
    >>> from attnscope import synthetic
    >>> figure = plot_film(synthetic.example(), np.zeros((6, 9, 16, 3), dtype=np.uint8))
    >>> len(figure.axes)  # a map, twice six pictures, one colour scale
    14
    """
    view = view_of(ds, prompt=prompt, branch=branch, head=head)
    require_film(film, view)
    wanted = view.labels(LAYER)[-1] if layer is None else layer
    (shown,) = choose_labels(view, LAYER, [wanted], at_most=1)
    if step is not None:
        choose_labels(view, STEP, [step], at_most=1)
    panel = view.panel(layer=shown, step=step)
    page = film_map(width_in, len(film), film.shape[1] / film.shape[2], title=bool(title))
    with _theme.theme():
        fig = Page(page.width, page.height)
        for box, picture in [*zip(page.above, film, strict=True), *zip(page.beside, film, strict=True)]:
            _show(fig, picture, box)
        ax = fig.axes_in(page.square)
        image = draw_map(ax, panel, view, shared_scale([panel]), cmap, bar=0.012)
        label_frames(ax, view, x=True, y=False, pad=6)
        ax.set_xlabel(f"key frame (latent): looked at, in layer {shown}", labelpad=2)
        middle = page.square.bottom + page.square.height / 2
        fig.write(0.06, middle, "query frame: looks", rotation=90, ha="left", va="center")
        over = f"step {step}" if step is not None else f"mean over {len(view.labels(STEP))} steps"
        colour_bar(image, fig.axes_in(page.scale), scale_label(view, over).replace(" (", "\n("))
        fig.write_title(0.06, title)
    return fig


def require_film(film: Film, view: View) -> None:
    """Refuse a film that has not one picture (height, width, 3) for each latent frame."""
    if film.ndim != 4 or film.shape[-1] != 3 or len(film) != len(view.shot):
        raise InputError(
            expected=f"a picture for each of {len(view.shot)} latent frames, (frames, height, width, 3)",
            got=f"shape {film.shape}",
            where="as film of a figure",
            remedy="give the first video frame of each latent frame",
        )


def strip_height(film: Film, width: float) -> float:
    """Return the height in inches of a strip of that width, shot bars included."""
    tile = (width - _GAP * (len(film) - 1)) / len(film)
    return float(tile * film.shape[1] / film.shape[2] + 2 * _BAR)


def draw_strip(fig: Page, film: Film, view: View, strip: Box) -> None:
    """Draw the pictures side by side, and below them a bar for each shot.

    Raises
    ------
    InputError
        There is not one picture (height, width, 3) for each latent frame.
    """
    require_film(film, view)
    tile = (strip.width - _GAP * (len(film) - 1)) / len(film)
    height = tile * film.shape[1] / film.shape[2]
    for index, picture in enumerate(film):
        left = strip.left + index * (tile + _GAP)
        _show(fig, picture, Box(left, strip.bottom + 2 * _BAR, tile, height))
    for index, (start, stop) in enumerate(view.spans):
        left = strip.left + start * (tile + _GAP)
        bar = fig.axes_in(Box(left, strip.bottom, (stop - start) * (tile + _GAP) - _GAP, _BAR))
        colour = _theme.SHOT_COLOURS[index % len(_theme.SHOT_COLOURS)]
        bar.add_patch(Rectangle((0, 0), 1, 1, facecolor=colour))
        bar.set_axis_off()


def _show(fig: Page, picture: Film, box: Box) -> None:
    ax = fig.axes_in(box)
    ax.imshow(picture, interpolation="antialiased", aspect="auto", rasterized=True)
    ax.set_axis_off()
