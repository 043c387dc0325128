"""The sheet that every figure is drawn on: a matplotlib figure that a notebook shows as a picture."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attnscope.plots import _theme
from attnscope.plots._layout import Box

_SCREEN_DPI = 110
_SHARPER = 2  # pixels of the picture for each pixel of a plain screen


class Page(Figure):
    """A matplotlib figure of a size in inches; a notebook shows it without `%matplotlib inline`."""

    def __init__(self, width: float, height: float) -> None:
        super().__init__(figsize=(width, height))

    def axes_in(self, box: Box) -> Axes:
        """Add axes at a place given in inches from the lower left corner."""
        width, height = self.get_size_inches()
        return self.add_axes((box.left / width, box.bottom / height, box.width / width, box.height / height))

    def write(self, left: float, bottom: float, text: str, **style: Any) -> None:
        """Write text at a place given in inches from the lower left corner."""
        width, height = self.get_size_inches()
        self.text(left / width, bottom / height, text, **style)

    def write_title(self, left: float, text: str | None, size: float = 8.5) -> None:
        """Write the title, if there is one, at the top of the page."""
        if text:
            height = float(self.get_size_inches()[1])
            self.write(left, height - 0.06, text, ha="left", va="top", fontsize=size, fontweight="bold")

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        picture = io.BytesIO()
        with _theme.theme():
            self.savefig(picture, format="png", dpi=_SHARPER * _SCREEN_DPI, metadata={"Software": None})
        width, height = (round(_SCREEN_DPI * inches) for inches in self.get_size_inches())
        return picture.getvalue(), {"width": width, "height": height}
