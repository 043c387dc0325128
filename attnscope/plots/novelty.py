"""Where attention itself falls apart, against the cuts that were asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from attnscope.errors import InputError
from attnscope.plots import _theme
from attnscope.plots._layout import stacked_axes
from attnscope.plots._page import Page

BOUNDARY, NOVELTY, PICKED = "boundary", "novelty", "picked"


def plot_novelty(
    found: xr.Dataset,
    cuts: Sequence[int] = (),
    *,
    threshold: float | None = None,
    width_in: float = _theme.WIDTH_COLUMN_IN,
    title: str | None = None,
) -> Page:
    """Draw how much the attention breaks at each latent frame: a curve, the places picked from it, the cuts.

    Parameters
    ----------
    found : xr.Dataset
        What `structure.boundaries` gives for one map, `novelty` and `picked` over `boundary`. With one more dim (such
        as layers), each of its curves is drawn faintly, their mean strongly; picks are then left out.
    cuts : sequence of int
        First latent frames of later shots, drawn as dashed lines.
    threshold : float, optional
        The value from which a peak is picked, drawn as a dotted line.

    Raises
    ------
    InputError
        There is no novelty over `boundary`.

    Examples
    --------
    >>> from attnscope import structure, synthetic
    >>> one = structure.boundaries(structure.mean_map(synthetic.example(), ["step", "head", "layer"]))
    >>> len(plot_novelty(one.isel(prompt=0, branch=0), [3]).axes)
    1
    """
    if NOVELTY not in found or BOUNDARY not in found[NOVELTY].dims or found[NOVELTY].ndim > 2:
        raise InputError(
            expected="novelty over boundary, with at most one dim beside",
            got=f"{', '.join(map(str, found.dims)) or 'no dims'}",
            where="in plot_novelty",
            remedy="select one prompt, step and branch of what structure.boundaries returned",
        )
    place = found[BOUNDARY].values
    others = [dim for dim in found[NOVELTY].dims if dim != BOUNDARY]
    curve = found[NOVELTY].mean(others, skipna=True).values
    page = stacked_axes(width_in, 1, title=bool(title))
    with _theme.theme():
        fig = Page(page.width, page.height)
        ax = fig.axes_in(page.axes[0])
        for cut in cuts:
            ax.axvline(cut, color=_theme.ORANGE, linewidth=1, linestyle=(0, (4, 2)), label="cut")
        for dim in others:
            ax.plot(
                place,
                found[NOVELTY].transpose(BOUNDARY, dim).values,
                color=_theme.BLUE,
                alpha=0.2,
                linewidth=0.6,
            )
        ax.plot(place, curve, color=_theme.BLUE, label=f"mean over {others[0]}s" if others else "novelty")
        if not others and PICKED in found:
            picked = found[PICKED].values.astype(bool)
            ax.plot(place[picked], curve[picked], "o", color=_theme.BLUE, markersize=4, label="picked")
        if threshold is not None:
            ax.axhline(
                threshold, color=_theme.MUTED, linewidth=0.8, linestyle=(0, (1, 1.5)), label="threshold"
            )
        ax.axhline(0, color=_theme.FAINT, linewidth=0.8, zorder=0)
        ax.set_xlim(0.5, float(np.max(place)) + 0.5)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
        ax.set_xlabel("latent frame that would begin a shot")
        ax.set_ylabel("novelty")
        handles, labels = ax.get_legend_handles_labels()
        once = dict(zip(labels, handles, strict=True))
        tight: _theme.Style = {"columnspacing": 0.9, "handlelength": 1.2, "handletextpad": 0.4}
        above: _theme.Style = {"loc": "lower left", "bbox_to_anchor": (-0.02, 1), "borderaxespad": 0.1}
        ax.legend(once.values(), once.keys(), ncols=4, **above, **tight)
        fig.write_title(0.1, title)
    return fig
