"""A mask rule as a picture: which latent frame may look at which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.patches import Patch

from attnscope.errors import InputError, quote
from attnscope.plots import _theme
from attnscope.plots._layout import Box
from attnscope.plots._page import Page
from attnscope.plots._panels import bare, mark_cuts

# Inches around the square: for labels, title and scale.
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.55, 0.25, 0.30, 0.62
_WITH_SCALE = 0.75
_DARK_SHARE = 0.5

RelationMap = npt.NDArray[np.float64]


def plot_rule(
    relation: npt.ArrayLike, *, cuts: Sequence[int] = (), title: str | None = None, side_in: float = 2.2
) -> Page:
    """Draw who may look at whom under a rule: one square a pair of frames, dark where the rule hides.

    Parameters
    ----------
    relation : array
        What :func:`attnscope.masks.compile_rule` gives for frames, (query frames, key frames): -inf is hidden, 0
        visible; other numbers, in natural-log units, are on a scale of colours.
    cuts : sequence of int
        Latent frames, drawn as dashed lines.
    side_in : float
        Side of the square, in inches.

    Raises
    ------
    InputError
        The relation is no square of numbers.

    Examples
    --------
    >>> from attnscope.masks import Sides, band, compile_rule
    >>> len(plot_rule(compile_rule(band(1), Sides.of_frames(5))).axes)
    1
    """
    values = _square(relation)
    seen = values[np.isfinite(values)]
    hard = bool((seen == 0).all())
    low, high = (-1.0, 0.0) if hard else (min(float(seen.min()), 0.0), max(float(seen.max()), 0.0))
    # The darkest colours are left to what is hidden, or the least visible would look like it.
    floor = low - _DARK_SHARE * (high - low)
    drawn = np.where(np.isfinite(values), values, floor - 1)
    square = Box(_LEFT, _BOTTOM, side_in, side_in)
    with _theme.theme():
        fig = Page(square.right + (_RIGHT if hard else _WITH_SCALE), square.top + _TOP)
        ax = fig.axes_in(square)
        norm, colours = Normalize(floor, high), _theme.mass_colours()
        image = ax.imshow(drawn, norm=norm, cmap=colours, interpolation="nearest")
        mark_cuts(ax, cuts)
        _label(ax, _places(cuts, len(values)), title)
        _explain(ax, is_hard=hard, has_hidden=bool(np.isneginf(values).any()))
        if not hard:
            scale = fig.axes_in(square.beside(0.12, 0.1))
            fig.colorbar(image, cax=scale).set_label("added to the scores (natural log)")
            scale.set_ylim(low, high)
            scale.tick_params(length=2)
    return fig


def _square(relation: npt.ArrayLike) -> RelationMap:
    try:
        values = np.asarray(relation, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            expected="a compiled rule",
            got=quote(relation),
            where="in plot_rule",
            remedy="write compile_rule(rule, Sides.of_frames(13))",
        ) from error
    if values.ndim != 2 or values.shape[0] != values.shape[1] or not values.size or np.isnan(values).any():
        raise InputError(
            expected="a relation of frames by frames without nan",
            got=f"shape {values.shape}",
            where="in plot_rule",
            remedy="give what compile_rule returns for Sides.of_frames",
        )
    return values


def _label(ax: Axes, ticks: list[int], title: str | None) -> None:
    bare(ax)
    ax.tick_params(labelbottom=True, labelleft=True)
    ax.set_xticks(ticks)
    ax.set_yticks(ticks)
    ax.set_xlabel("key frame (latent)", labelpad=2)
    ax.set_ylabel("query frame (latent)")
    if title:
        ax.set_title(title, pad=4, loc="left", fontweight="bold")


def _explain(ax: Axes, *, is_hard: bool, has_hidden: bool) -> None:
    """Say below which colour is visible and which is hidden, where these are colours of their own."""
    shown = [Patch(facecolor=_theme.mass_colours()(1.0), label="visible")] if is_hard else []
    hidden = [Patch(facecolor=_theme.BELOW_SCALE, label="hidden")] if has_hidden else []
    if shown or hidden:
        place: _theme.Style = {"loc": "upper left", "bbox_to_anchor": (-0.02, -0.17), "borderaxespad": 0}
        ax.legend(handles=[*shown, *hidden], ncols=2, handlelength=1, handleheight=1, **place)


def _places(cuts: Sequence[int], num_frames: int) -> list[int]:
    """Number the first frame, the cuts and the last frame, where they do not collide."""
    ticks = [0]
    for place in [*cuts, num_frames - 1]:
        if place - ticks[-1] > max(0, num_frames // 12):
            ticks.append(place)
    return ticks
