"""Show pictures as a player does: turned, with square pixels, all of one size, without the border that is cut off.

What a file says of that is data beside the coded pictures: a telephone held upright stores them lying, a DVD squeezed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from attnscope._types import Crop
from attnscope.errors import VideoError

if TYPE_CHECKING:
    import av

Show = Callable[["av.VideoFrame"], "av.VideoFrame"]
Step = tuple[str, str]  # a filter of FFmpeg and its arguments

NO_CROP: Crop = (0.0, 0.0, 0.0, 0.0)
_WIDEST_PIXEL = 20  # times as wide as high, or the other way round; beyond it the header is damaged

# where a quarter of the turning matrix sends the picture: (x from x, y from x, x from y, y from y)
_TURNS: dict[tuple[int, int, int, int], tuple[Step, ...]] = {
    (1, 0, 0, 1): (),
    (-1, 0, 0, 1): (("hflip", ""),),
    (1, 0, 0, -1): (("vflip", ""),),
    (-1, 0, 0, -1): (("hflip", ""), ("vflip", "")),
    (0, 1, -1, 0): (("transpose", "clock"),),
    (0, -1, 1, 0): (("transpose", "cclock"),),
    (0, 1, 1, 0): (("transpose", "cclock_flip"),),
    (0, -1, -1, 0): (("transpose", "clock_flip"),),
}


class Display:
    """Brings every picture of a video to the form in which the first one is shown.

    Parameters
    ----------
    first : av.VideoFrame
        The first picture, which says how all are turned and how large they are shown.
    pixel_shape : Fraction, optional
        Width of a pixel divided by its height; None or 0 for square ones.
    crop : four floats
        Shares of the shown picture that are cut off: top, right, bottom, left.
    where : str
        The file, for messages.
    """

    def __init__(self, first: av.VideoFrame, pixel_shape: Fraction | None, *, crop: Crop, where: str) -> None:
        shape = pixel_shape or Fraction(1)
        if not Fraction(1, _WIDEST_PIXEL) <= shape <= _WIDEST_PIXEL:
            raise VideoError(
                expected=f"pixels at most {_WIDEST_PIXEL} times as wide as high, or as high as wide",
                got=f"{shape}",
                where=where,
                remedy="re-encode it",
            )
        self._shape = shape
        self._turn = _read_turns(first, where)
        height, width = self._size_on_screen(first.height, first.width)
        self._whole = (height, width)
        self._box = crop_box(height, width, crop)
        self.size = (self._box[1] - self._box[0], self._box[3] - self._box[2])
        self._known: dict[tuple[int, int, str], Show] = {}

    def show(self, picture: av.VideoFrame) -> av.VideoFrame:
        """Give the picture as it is shown, which may be itself."""
        key = (picture.height, picture.width, picture.format.name)
        if key not in self._known:
            self._known[key] = self._prepare(picture)
        return self._known[key](picture)

    def _size_on_screen(self, height: int, width: int) -> tuple[int, int]:
        """Height and width on the screen of a coded picture."""
        wide = round(width * self._shape)
        turned = any(name == "transpose" for name, _ in self._turn)
        return (wide, height) if turned else (height, wide)

    def _prepare(self, picture: av.VideoFrame) -> Show:
        """What is to be done with pictures of this size and format."""
        steps: list[Step] = []
        wide = round(picture.width * self._shape)
        if wide != picture.width:
            steps.append(("scale", f"{wide}:{picture.height}"))
        steps += self._turn
        height, width = self._whole
        if self._size_on_screen(picture.height, picture.width) != self._whole:
            steps.append(("scale", f"{width}:{height}"))
        if self.size != self._whole:
            top, bottom, left, right = self._box
            steps.append(("crop", f"{right - left}:{bottom - top}:{left}:{top}"))
        return _build_filter(picture, steps) if steps else lambda same: same


def crop_box(height: int, width: int, crop: Crop) -> tuple[int, int, int, int]:
    """Give the first and last row and column (half-open) that a crop leaves of a picture.

    >>> crop_box(100, 200, (0.1, 0.0, 0.0, 0.25))
    (10, 100, 50, 200)
    """
    top, right, bottom, left = crop
    if not all(0 <= share < 1 for share in crop) or top + bottom >= 1 or left + right >= 1:
        raise VideoError(
            expected="shares top, right, bottom, left that leave a picture",
            got=f"{crop}",
            where="as crop",
            remedy="crop less",
        )
    # floor on the one side, ceil on the other: of a tiny picture one pixel stays
    return (
        math.floor(top * height),
        math.ceil(height - bottom * height),
        math.floor(left * width),
        math.ceil(width - right * width),
    )


def _read_turns(picture: av.VideoFrame, where: str) -> tuple[Step, ...]:
    """Read off the matrix beside a picture how it is turned and mirrored."""
    beside: Any = picture.side_data  # its types are not told
    matrix = next((each for each in beside if each.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return ()
    numbers = np.frombuffer(memoryview(matrix)[:36], "=i4").astype(float)
    turn = numbers[[0, 1, 3, 4]]
    largest = float(np.abs(turn).max()) or 1.0
    quarter = tuple(round(each) for each in turn / largest)
    if quarter not in _TURNS or np.abs(turn / largest - quarter).max() > 0.01:
        raise VideoError(
            expected="a picture turned by quarters",
            got=f"one turned by {picture.rotation} degrees",
            where=where,
            remedy="re-encode it",
        )
    return _TURNS[quarter]


def _build_filter(picture: av.VideoFrame, steps: list[Step]) -> Show:
    """Return what runs pictures through filters; where it cuts, a chroma sample may pull an edge by one pixel."""
    import av

    graph = av.filter.Graph()
    last = graph.add_buffer(
        width=picture.width, height=picture.height, format=picture.format, time_base=Fraction(1, 1000)
    )
    for name, words in [*steps, ("buffersink", "")]:
        step = graph.add(name, words or None)
        last.link_to(step)
        last = step
    graph.configure()

    def show(picture: av.VideoFrame) -> av.VideoFrame:
        graph.push(picture)
        return cast("av.VideoFrame", graph.pull())

    return show
