"""Curves over the layers of a model."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from attnscope.errors import InputError
from attnscope.plots import _theme
from attnscope.plots._layout import stacked_axes
from attnscope.plots._page import Page
from attnscope.plots._panels import draw_curve, prepare_layer_axis

_NEEDED = ("mean", "low", "high")


def plot_profile(
    contrast: xr.Dataset,
    correlation: xr.Dataset | None = None,
    *,
    distance_only: xr.Dataset | None = None,
    adjusted: xr.Dataset | None = None,
    names: tuple[str, str] | None = None,
    band: tuple[int, int] | None = None,
    width_in: float = _theme.WIDTH_TEXT_IN,
    title: str | None = None,
) -> Page:
    """Draw through which layers attention keeps to its shot: contrast above, correlation with the shots below.

    Contrast is drawn on a logarithmic axis.

    Parameters
    ----------
    contrast, correlation : xr.Dataset
        Curves as `structure.profile` returns them: `mean`, `low`, `high` over `layer`; the band from low to high is
        left out where it is unknown (few videos).
    distance_only : xr.Dataset, optional
        From `structure.distance_only_contrast`: what a model makes that knows only how far apart frames are, and what
        contrast is to be held against.
    adjusted : xr.Dataset, optional
        From `structure.adjusted_r`: the correlation that is left without distance and the popularity of frames.
    names : pair of str, optional
        What the line and the dashed line of contrast are called, where ``distance_only`` is another curve to hold the
        first against, such as that of the same films without a mask; "measured" and "by distance alone" otherwise.
    band : pair of int, optional
        Layers to shade, first and last included; (7, 28) are those that CineTrans masks in Wan 1.3B.

    Raises
    ------
    InputError
        A dataset is no such curve.

    Examples
    --------
    >>> values = [1.0, 2.0, 4.0]
    >>> curve = xr.Dataset({name: ("layer", values) for name in ("mean", "low", "high")}, {"layer": [1, 2, 3]})
    >>> len(plot_profile(curve, curve).axes)
    2
    """
    require_curves(contrast, correlation, distance_only, adjusted, where="plot_profile")
    below = correlation is not None or adjusted is not None
    page = stacked_axes(width_in, 2 if below else 1, title=bool(title))
    with _theme.theme():
        fig = Page(page.width, page.height)
        axes = [fig.axes_in(box) for box in page.axes]
        draw_contrast(axes[0], contrast, distance_only, band, names=names)
        if below:
            draw_correlation(axes[1], correlation, adjusted, band)
            axes[0].tick_params(labelbottom=False)
        axes[-1].set_xlabel("layer")
        fig.write_title(0.1, title)
    return fig


def require_curves(*curves: xr.Dataset | None, where: str) -> None:
    """Refuse what has no mean, low and high over one dim."""
    for curve in curves:
        if curve is not None and not (set(_NEEDED) <= set(curve.data_vars) and curve["mean"].ndim == 1):
            dims = ", ".join(map(str, curve.dims)) or "no dim"
            raise InputError(
                expected="a curve with mean, low and high over one dim",
                got=f"variables {sorted(map(str, curve.data_vars))} over {dims}",
                where=f"in {where}",
                remedy="pass what structure.profile returned",
            )


def draw_contrast(
    ax: Axes,
    contrast: xr.Dataset,
    distance_only: xr.Dataset | None,
    band: tuple[int, int] | None,
    *,
    names: tuple[str, str] | None = None,
    is_small: bool = False,
) -> None:
    """Draw the contrast curve on a logarithmic axis, and what distance alone would make of it."""
    measured, alone = names or ("measured", "distance alone" if is_small else "by distance alone")
    prepare_layer_axis(ax, contrast, band, named=True)
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_tick_params(which="minor", length=0)
    draw_curve(ax, contrast, _theme.BLUE, measured)
    if distance_only is not None:
        draw_curve(ax, distance_only, _theme.MUTED, alone, dashed=True)
        ax.legend(loc="upper left", ncols=2, borderaxespad=0.1, handlelength=1.4, columnspacing=1.2)
        low, high = ax.get_ylim()
        ax.set_ylim(low, high * (high / low) ** (0.3 if is_small else 0.18))  # room for the legend
    ax.set_ylabel("inside ÷\nacross cuts" if is_small else "attention inside\n÷ across cuts")


def draw_correlation(
    ax: Axes,
    correlation: xr.Dataset | None,
    adjusted: xr.Dataset | None,
    band: tuple[int, int] | None,
    *,
    is_small: bool = False,
) -> None:
    """Draw the correlations with the shots, raw and adjusted, around 0."""
    curves = [
        (correlation, _theme.MUTED, "raw" if is_small else "raw (locality counts too)"),
        (adjusted, _theme.ORANGE, "adjusted"),
    ]
    for curve, colour, label in curves:
        if curve is not None:
            prepare_layer_axis(ax, curve, band, named=False)
            band = None  # shaded once
            draw_curve(ax, curve, colour, label)
    ax.axhline(0, color=_theme.MUTED, linewidth=0.8, linestyle=(0, (4, 2)))
    low = ax.get_ylim()[0]
    ax.set_ylim(min(low, -0.1), 1.32)  # room for the legend above 1
    ax.set_yticks([tick for tick in (-1.0, -0.5, 0.0, 0.5, 1.0) if tick >= low])
    ax.set_ylabel("r with\n“same shot”" if is_small else "correlation r with\n“same shot”")
    ax.legend(loc="upper left", ncols=2, borderaxespad=0.1, handlelength=1.4)
