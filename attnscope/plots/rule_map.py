"""A mask rule as a picture: which latent frame may look at which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from attnscope.errors import InputError, quote
from attnscope.plots import _theme
from attnscope.plots._panels import axes_in

# Inches around the square: for labels, title and scale.
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.55, 0.25, 0.30, 0.62
_WITH_SCALE = 0.75
_DARK_SHARE = 0.5


def plot_rule(
    relation: npt.ArrayLike, *, cuts: Sequence[int] = (), title: str | None = None, side_in: float = 2.2
) -> Figure:
    """Draw who may look at whom under a rule: one square a pair of frames, dark where the rule hides.

    `relation` is what :func:`attnscope.masks.compile_rule` gives for frames, (query frames, key frames): -inf is
    hidden, 0 visible; other numbers, in natural-log units, are on a scale of colours. `cuts` are latent frames and
    drawn as dashed lines.

    Raises: InputError if the relation is no square of numbers.

    >>> from attnscope.masks import Sides, band, compile_rule
    >>> len(plot_rule(compile_rule(band(1), Sides.of_frames(5))).axes)
    1
    """
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
    seen = values[np.isfinite(values)]
    hard = bool((seen == 0).all())
    right = _RIGHT if hard else _WITH_SCALE
    with _theme.theme():
        fig = Figure(figsize=(_LEFT + side_in + right, _BOTTOM + side_in + _TOP))
        ax = axes_in(fig, _LEFT, _BOTTOM, side_in, side_in)
        low, high = (-1.0, 0.0) if hard else (min(float(seen.min()), 0.0), max(float(seen.max()), 0.0))
        # The darkest colours are left to what is hidden, or the least visible would look like it.
        floor = low - _DARK_SHARE * (high - low)
        drawn = np.where(np.isfinite(values), values, floor - 1)
        norm, colours = Normalize(floor, high), _theme.mass_colours()
        image = ax.imshow(drawn, norm=norm, cmap=colours, interpolation="nearest")
        for cut in cuts:
            style: dict[str, Any] = {"color": "white", "linewidth": 0.9, "linestyle": (0, (4, 2))}
            ax.axvline(cut - 0.5, **style)
            ax.axhline(cut - 0.5, **style)
        for spine in ax.spines.values():
            spine.set_visible(False)
        ax.set_xticks(_places(cuts, len(values)))
        ax.set_yticks(_places(cuts, len(values)))
        ax.tick_params(length=0)
        ax.set_xlabel("key frame (latent)", labelpad=2)
        ax.set_ylabel("query frame (latent)")
        if title:
            ax.set_title(title, pad=4, loc="left", fontweight="bold")
        hidden = [Patch(facecolor=_theme.BELOW_SCALE, label="hidden")] if np.isneginf(values).any() else []
        shown = [Patch(facecolor=_theme.mass_colours()(1.0), label="visible")] if hard else []
        if hidden or shown:
            ax.legend(
                handles=[*shown, *hidden], loc="upper left", bbox_to_anchor=(-0.02, -0.17), ncols=2,
                borderaxespad=0, handlelength=1, handleheight=1,
            )  # fmt: skip
        if not hard:
            bar = axes_in(fig, _LEFT + side_in + 0.12, _BOTTOM, 0.1, side_in)
            fig.colorbar(image, cax=bar).set_label("added to the scores (natural log)")
            bar.set_ylim(low, high)
            bar.tick_params(length=2)
    return fig


def _places(cuts: Sequence[int], num_frames: int) -> list[int]:
    """Number the first frame, the cuts and the last frame, where they do not collide."""
    ticks = [0]
    for place in [*cuts, num_frames - 1]:
        if place - ticks[-1] > max(0, num_frames // 12):
            ticks.append(place)
    return ticks
