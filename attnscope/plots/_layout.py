"""Where everything stands on a page, in inches from the lower left corner: computed first, drawn afterwards."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """A rectangle on the page, in inches."""

    left: float
    bottom: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """The right edge, from the left of the page."""
        return self.left + self.width

    @property
    def top(self) -> float:
        """The upper edge, from the bottom of the page."""
        return self.bottom + self.height

    def beside(self, gap: float, width: float) -> Box:
        """A box of the same height to the right of this one."""
        return Box(self.right + gap, self.bottom, width, self.height)


@dataclass(frozen=True)
class SquareGrid:
    """Rows and columns of equal squares with a colour scale beside them."""

    width: float
    height: float
    squares: tuple[tuple[Box, ...], ...]  # rows from the top, columns from the left
    scale: Box

    @property
    def side(self) -> float:
        """The side of a square."""
        return self.squares[0][0].width

    @property
    def middle(self) -> float:
        """Half way between the left edge of the first column and the right edge of the last."""
        return (self.squares[0][0].left + self.squares[0][-1].right) / 2


_GRID_LEFT, _GRID_RIGHT, _GRID_TOP, _GRID_BOTTOM, _GRID_GAP = 0.70, 0.90, 0.40, 0.48, 0.10
_TITLE = 0.22
_LARGEST_SQUARE = 2.2
_SCALE_WIDTH, _SCALE_GAP = 0.10, 0.12


def square_grid(num_rows: int, num_columns: int, width: float, *, title: bool) -> SquareGrid:
    """Lay squares out so that they fill the width, unless they would grow too large.

    >>> grid = square_grid(1, 2, 5.5, title=False)
    >>> [round(box.width, 2) for box in grid.squares[0]], round(grid.height, 2)
    ([1.9, 1.9], 2.78)
    """
    room = width - _GRID_LEFT - _GRID_RIGHT - (num_columns - 1) * _GRID_GAP
    side = min(room / num_columns, _LARGEST_SQUARE)
    tall = num_rows * side + (num_rows - 1) * _GRID_GAP
    squares = tuple(
        tuple(
            Box(
                _GRID_LEFT + column * (side + _GRID_GAP),
                _GRID_BOTTOM + (num_rows - 1 - row) * (side + _GRID_GAP),
                side,
                side,
            )
            for column in range(num_columns)
        )
        for row in range(num_rows)
    )
    scale_height = max(min(tall, 3.2), 1.1)
    scale_bottom = max(_GRID_BOTTOM + (tall - scale_height) / 2, 0.05)
    scale = Box(squares[0][-1].right + _SCALE_GAP, scale_bottom, _SCALE_WIDTH, scale_height)
    height = max(_GRID_TOP + _GRID_BOTTOM + tall, scale.top + 0.05) + (_TITLE if title else 0)
    return SquareGrid(width, height, squares, scale)


@dataclass(frozen=True)
class Stack:
    """Axes above one another that share what runs along them."""

    width: float
    height: float
    axes: tuple[Box, ...]  # from the top


_STACK_LEFT, _STACK_RIGHT, _STACK_BOTTOM, _STACK_TOP, _STACK_GAP, _STACK_EACH = (
    0.62,
    0.10,
    0.40,
    0.22,
    0.16,
    1.45,
)


def stacked_axes(width: float, num: int, *, title: bool) -> Stack:
    """Lay axes out above one another over the whole width."""
    axes = tuple(
        Box(
            _STACK_LEFT,
            _STACK_BOTTOM + (num - 1 - place) * (_STACK_EACH + _STACK_GAP),
            width - _STACK_LEFT - _STACK_RIGHT,
            _STACK_EACH,
        )
        for place in range(num)
    )
    return Stack(width, axes[0].top + _STACK_TOP + (_TITLE if title else 0), axes)


@dataclass(frozen=True)
class Overview:
    """One large map at the left, small maps and curves at the right, a film along the top."""

    width: float
    height: float
    large: Box
    scale: Box
    small: tuple[Box, ...]
    small_title: tuple[float, float]
    curves: tuple[Box, ...]  # from the top
    strip: Box | None


_BIG_LEFT, _BIG_BOTTOM, _BIG_SHARE = 0.48, 1.00, 0.403
_BIG_TO_RIGHT, _PAGE_RIGHT, _ABOVE_BIG = 0.78, 0.09, 0.26
_SMALL_GAP, _SMALL_SIDE, _SMALL_DOWN, _SMALL_TITLE_UP = 0.09, 0.62, 0.28, 0.055
_CURVES_BOTTOM, _CURVES_DOWN, _CURVES_GAP = 0.40, 1.14, 0.14
_PAGE_TITLE, _STRIP_GAP = 0.28, 0.12


def overview_page(
    width: float, num_steps: int, num_curves: int, *, strip_height: float | None, title: bool
) -> Overview:
    """Lay the overview out: the large map takes two fifths of the width, whatever the width is.

    ``strip_height`` is that of a strip as wide as :func:`strip_width` says.
    """
    big = _BIG_SHARE * width
    large = Box(_BIG_LEFT, _BIG_BOTTOM, big, big)
    left = large.right + _BIG_TO_RIGHT
    room = width - left - _PAGE_RIGHT
    side = min((room - _SMALL_GAP * (num_steps - 1)) / num_steps, _SMALL_SIDE)
    small = tuple(
        Box(left + step * (side + _SMALL_GAP), large.top - _SMALL_DOWN - side, side, side)
        for step in range(num_steps)
    )
    tall = large.top - _CURVES_DOWN - _CURVES_BOTTOM
    each = (tall - (num_curves - 1) * _CURVES_GAP) / num_curves
    curves = tuple(
        Box(left, _CURVES_BOTTOM + (num_curves - 1 - place) * (each + _CURVES_GAP), room, each)
        for place in range(num_curves)
    )
    height = large.top + _ABOVE_BIG
    strip = None
    if strip_height is not None:
        strip = Box(_BIG_LEFT, height + _STRIP_GAP / 3, strip_width(width), strip_height)
        height += strip_height + _STRIP_GAP
    return Overview(
        width=width,
        height=height + (_PAGE_TITLE if title else 0),
        large=large,
        scale=Box(_BIG_LEFT, 0.55, big, 0.08),
        small=small,
        small_title=(left, large.top + _SMALL_TITLE_UP),
        curves=curves,
        strip=strip,
    )


def strip_width(width: float) -> float:
    """How wide the film along the top of an overview is."""
    return width - _BIG_LEFT - _PAGE_RIGHT


@dataclass(frozen=True)
class Table:
    """A table of coloured cells with names at the left and below, and a colour scale beside it."""

    width: float
    height: float
    cells: Box
    scale: Box


_SHORTEST, _TALLEST = 1.1, 4.6
_LETTER = 0.055  # inches a letter of a tick label takes at 6.5 points
_TABLE_RIGHT = 0.75


def cell_table(
    names: tuple[list[str], list[str]], *, width: float | None, cell: float, title: bool, upright: bool
) -> Table:
    """Lay a table out: cells of ``cell`` inches, or as wide as fill ``width`` and no taller than a page allows.

    ``upright`` says that the names below are written upwards, so that they need their length as height.
    """
    num_rows, num_columns = map(len, names)
    left = 0.45 + _LETTER * max(map(len, names[0]))
    below = 0.4 + (_LETTER * max(map(len, names[1])) if upright else 0.06)
    wide = cell * num_columns if width is None else width - left - _TABLE_RIGHT
    tall = cell * num_rows
    if width is not None:
        tall = min(max(num_rows * min(wide / num_columns, cell), _SHORTEST), _TALLEST)
    cells = Box(left, below, wide, tall)
    return Table(
        width=cells.right + _TABLE_RIGHT,
        height=cells.top + (0.3 if title else 0.1),
        cells=cells,
        scale=cells.beside(_SCALE_GAP, _SCALE_WIDTH),
    )


@dataclass(frozen=True)
class FilmMap:
    """A square map with the film along its upper and its left edge, and a colour scale beside it."""

    width: float
    height: float
    square: Box
    above: tuple[Box, ...]
    beside: tuple[Box, ...]
    scale: Box


_FILM_BOTTOM, _FILM_LEFT, _FILM_RIGHT, _FILM_EDGE, _FILM_AIR = 0.42, 0.30, 0.78, 0.05, 0.02


def film_map(width: float, num_frames: int, aspect: float, *, title: bool) -> FilmMap:
    """Lay a map out so that each picture stands over its column and before its row; ``aspect`` is height by width.

    A picture keeps its shape: above, it is as wide as a column; at the left, as tall as a row.
    """
    # width = left + row picture + square + right, where a row picture is side / frames / aspect wide
    side = (width - _FILM_LEFT - _FILM_RIGHT - _FILM_EDGE) / (1 + 1 / (num_frames * aspect))
    step = side / num_frames
    square = Box(width - _FILM_RIGHT - side, _FILM_BOTTOM, side, side)
    tall, wide = step * aspect, step / aspect
    air = _FILM_AIR * step
    above = tuple(
        Box(
            square.left + place * step + air,
            square.top + _FILM_EDGE,
            step - 2 * air,
            tall * (1 - 2 * _FILM_AIR),
        )
        for place in range(num_frames)
    )
    beside = tuple(
        Box(
            square.left - _FILM_EDGE - wide,
            square.top - (place + 1) * step + air,
            wide * (1 - 2 * _FILM_AIR),
            step - 2 * air,
        )
        for place in range(num_frames)
    )
    height = above[0].top + 0.08 + (_TITLE if title else 0)
    return FilmMap(width, height, square, above, beside, square.beside(_SCALE_GAP, _SCALE_WIDTH))


@dataclass(frozen=True)
class Comparison:
    """Three maps in a row with two colour scales, and curves below."""

    width: float
    height: float
    maps: tuple[Box, Box, Box]
    mass_scale: Box
    change_scale: Box
    curves: tuple[Box, Box]


def comparison_page(width: float, *, title: bool) -> Comparison:
    """Lay a comparison out: this map, that map, what changed; below, both curves and their paired difference."""
    left, right, gap, scale_room = 0.56, 0.04, 0.12, 0.74
    side = (width - left - right - gap - 2 * scale_room) / 3
    curve_height, curves_bottom = 1.25, 0.40
    bottom = curves_bottom + curve_height + 0.62
    first = Box(left, bottom, side, side)
    second = first.beside(gap, side)
    third = second.beside(scale_room, side)
    curve_width = (width - left - 0.10 - 0.70) / 2
    upper = Box(left, curves_bottom, curve_width, curve_height)
    return Comparison(
        width=width,
        height=first.top + 0.26 + (_TITLE if title else 0),
        maps=(first, second, third),
        mass_scale=second.beside(0.06, 0.08),
        change_scale=third.beside(0.06, 0.08),
        curves=(upper, upper.beside(0.70, curve_width)),
    )
