"""One look for all figures: column widths of papers, fonts that matplotlib ships, colours that all can tell apart."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, cast

import matplotlib
import numpy as np
from matplotlib.colors import Colormap

from attnscope.shots.svg import SHOT_COLOURS as SHOT_COLOURS

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

Style = dict[str, Any]
"""How something is drawn, as keywords of matplotlib: sizes, colours and names side by side."""

WIDTH_COLUMN_IN: Final = 3.25
WIDTH_TEXT_IN: Final = 5.5
WIDTH_PAGE_IN: Final = 6.75


class Venue(NamedTuple):
    """How wide the text of a paper is, and a figure that shares a line with another, in inches."""

    text_in: float
    column_in: float


# From the style files of 2025: \textwidth, and \columnwidth where there are two columns, or else half of the text
# without a gap.
VENUES: Final = {
    "iclr": Venue(5.5, 2.7),
    "neurips": Venue(5.5, 2.7),
    "cvpr": Venue(6.875, 3.28),
    "tmlr": Venue(6.5, 3.2),
}
DPI: Final = 300

INK: Final = "#1b1b24"
MUTED: Final = "#6b6b76"
FAINT: Final = "#e9e9ee"
# Okabe and Ito's palette, which stays apart under the common colour vision deficiencies.
BLUE: Final = "#0072B2"
ORANGE: Final = "#D55E00"
GREEN: Final = "#009E73"
BELOW_SCALE: Final = "#12001c"
NOT_RECORDED: Final = "#d4d4da"

_STYLE: Final[Style] = {
    "font.family": "DejaVu Sans",
    "mathtext.fontset": "dejavusans",
    "font.size": 7.5,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.4,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "pdf.fonttype": 42,  # TrueType; several venues refuse the default Type 3
    "svg.fonttype": "path",  # outlines: the same letters where the font is missing
    "svg.hashsalt": "attnscope",
}


def theme() -> AbstractContextManager[None]:
    """Give the context in which a figure is built and saved; nothing outside it changes."""
    return matplotlib.rc_context(cast("dict[RcKeyType, object]", _STYLE))


def change_colours() -> Colormap:
    """Give the colour map of a difference: blue below its middle, red above, grey where nothing was recorded."""
    return matplotlib.colormaps["RdBu_r"].with_extremes(bad=NOT_RECORDED)


def colour_table(kind: Literal["mass", "change"]) -> bytes:
    """Give the colours of a picture that a browser paints: 256 times red, green and blue, one byte each.

    Entry 0 is for a share of 0 (the lowest of the change), 255 for what was not recorded, and between them the scale
    runs: cividis for the share of attention, which is the same with every kind of colour vision, blue to red for a
    change.

    Examples
    --------
    >>> len(colour_table("mass"))
    768
    """
    scale = mass_colours("cividis") if kind == "mass" else change_colours()
    middle = scale(np.linspace(0, 1, 254))
    table = np.vstack([scale.get_under(), middle, scale.get_bad()])[:, :3]
    return bytes(np.round(255 * table).astype(np.uint8))


def mass_colours(name: str = "viridis") -> Colormap:
    """Give the colour map of attention mass: almost black below the scale, grey where nothing was recorded."""
    return matplotlib.colormaps[name].with_extremes(under=BELOW_SCALE, bad=NOT_RECORDED)
