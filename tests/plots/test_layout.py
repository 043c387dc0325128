"""Layouts are arithmetic: boxes lie on the page, do not touch, and fill the width they are given."""

from __future__ import annotations

import itertools

import pytest

from attnscope.plots import VENUES
from attnscope.plots._layout import (
    Box,
    comparison_page,
    film_map,
    overview_page,
    square_grid,
    stacked_axes,
    strip_width,
)

WIDTHS = sorted({2.7, 3.25, *(venue.text_in for venue in VENUES.values())})


def overlap(one: Box, other: Box) -> bool:
    gap = 1e-9
    across = min(one.right, other.right) - max(one.left, other.left)
    upright = min(one.top, other.top) - max(one.bottom, other.bottom)
    return across > gap and upright > gap


def assert_apart(boxes: list[Box], width: float, height: float) -> None:
    for box in boxes:
        assert box.width > 0
        assert box.height > 0
        assert min(box.left, box.bottom) >= 0
        assert box.right <= width
        assert box.top <= height
    assert not any(overlap(one, other) for one, other in itertools.combinations(boxes, 2))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (4, 5), (1, 8), (6, 2)])
def test_squares(width: float, rows: int, columns: int) -> None:
    grid = square_grid(rows, columns, width, title=True)
    assert_apart([grid.scale, *itertools.chain(*grid.squares)], grid.width, grid.height)
    assert all(box.width == box.height for row in grid.squares for box in row)
    assert (rows, columns) == (len(grid.squares), len(grid.squares[0]))


@pytest.mark.parametrize("width", [each for each in WIDTHS if each >= 5])
@pytest.mark.parametrize("num_curves", [1, 2])
def test_overview(width: float, num_curves: int) -> None:
    page = overview_page(width, 4, num_curves, strip_height=0.3, title=True)
    assert page.strip is not None
    assert page.strip.width == strip_width(width)
    assert_apart([page.large, page.scale, page.strip, *page.small, *page.curves], page.width, page.height)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("aspect", [9 / 16, 1.0, 16 / 9])
@pytest.mark.parametrize("num_frames", [5, 21])
def test_each_picture_stands_at_its_row_and_column(width: float, aspect: float, num_frames: int) -> None:
    page = film_map(width, num_frames, aspect, title=False)
    assert_apart([page.square, page.scale, *page.above, *page.beside], page.width, page.height)
    step = page.square.width / num_frames
    for place in range(num_frames):
        above, beside = page.above[place], page.beside[place]
        assert above.left + above.width / 2 == pytest.approx(page.square.left + (place + 0.5) * step)
        assert beside.bottom + beside.height / 2 == pytest.approx(page.square.top - (place + 0.5) * step)
        for picture in (above, beside):
            assert picture.height / picture.width == pytest.approx(aspect)


@pytest.mark.parametrize("width", [each for each in WIDTHS if each >= 5])
def test_comparison_and_stack(width: float) -> None:
    page = comparison_page(width, title=True)
    assert_apart([*page.maps, page.mass_scale, page.change_scale, *page.curves], page.width, page.height)
    stack = stacked_axes(width, 2, title=False)
    assert_apart(list(stack.axes), stack.width, stack.height)
