import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnscope.errors import RangeError
from attnscope.ranges import format_range, parse_range

LAYERS = range(1, 31)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7-28", tuple(range(7, 29))),
        ("7-28,30", (*range(7, 29), 30)),
        ("5", (5,)),
        ("-6:", (25, 26, 27, 28, 29, 30)),
        ("all", tuple(range(1, 31))),
        (" 3 , 1-2 ", (1, 2, 3)),
        ("2,2,1-3", (1, 2, 3)),
        (5, (5,)),
        ([9, 7, 7], (7, 9)),
        (np.array([2, 1]), (1, 2)),
        (np.int64(4), (4,)),
        (slice(7, 9), (7, 8, 9)),
        (slice(np.int64(7), 7), (7,)),
        (slice(None), tuple(range(1, 31))),
        (slice(-6, None), (25, 26, 27, 28, 29, 30)),
    ],
)
def test_reads(text, expected):
    assert parse_range(text, LAYERS, name="layers") == expected


def test_the_papers_layers_are_22_layers():
    assert len(parse_range("7-28", LAYERS, name="layers")) == 22


def test_the_last_ones_are_the_largest_labels():
    assert parse_range("-2:", [9, 3, 5], name="layers") == (5, 9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("31", "expected layers among 1-30, got 31 in '31'; name only layers that exist, or \"all\""),
        ("0-3", "got 0 in '0-3'"),
        ("1-999999999", "got 31 in '1-999999999'"),
        ("9-7", "expected a span of layers from low to high, got 9-7 in '9-7'; write 7-9"),
        ("", 'expected layers like "7-28,30", "5", "-6:" or "all", got \'\' in \'\''),
        ("1,,2", "got '' in '1,,2'"),
        ("-6", "got '-6' in '-6'"),
        ("7-", "got '7-' in '7-'"),
        ("1.5", "got '1.5'"),
        ("\u0663", "expected layers like"),
        ("9" * 5000, "expected layers like"),
        ("-31:", "expected the last 1 to 30 of layers 1-30, got 31 in '-31:'; ask for at most 30"),
        ("-0:", "got 0"),
        ([], "expected at least one of layers 1-30, got none in []"),
        (1.5, "expected layers as whole numbers, got 1.5"),
        (True, "expected layers as whole numbers, got True"),
        (slice(7, 40), "expected layers among 1-30, got 31 in '7-40'"),
        (slice(7, None), "expected a slice of layers with both ends and no step, got slice(7, None, None)"),
        (slice(1, 9, 2), "expected a slice of layers with both ends"),
        (slice(1.0, 9.0), "expected a slice of layers with both ends"),
        (slice(-6, -1), "expected a slice of layers with both ends"),
        (slice(9, 7), "expected a span of layers from low to high, got 9-7"),
        ([None], "expected layers as whole numbers"),
    ],
)
def test_refuses_in_one_line(text, message):
    with pytest.raises(RangeError) as caught:
        parse_range(text, LAYERS, name="layers")
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@given(st.sets(st.integers(0, 60), min_size=1))
def test_what_is_formatted_is_read_back(labels):
    assert parse_range(format_range(labels), range(61), name="layers") == tuple(sorted(labels))


@given(st.text(alphabet="0123456789-,: alx", max_size=12))
def test_any_text_is_read_or_refused(text):
    try:
        chosen = parse_range(text, LAYERS, name="layers")
    except RangeError as error:
        chosen, text = (), str(error)
    assert set(chosen) <= set(LAYERS)
    assert list(chosen) == sorted(set(chosen))
    assert len(text.splitlines()) <= 1
