"""What counts as a number: the same in every room, truth values and numbers beyond the bounds refused in one line."""

from __future__ import annotations

import math

import numpy as np
import pytest

from attnscope import checks
from attnscope.errors import InputError, MaskError


@pytest.mark.parametrize("value", [True, False, 1.0, "1", None, np.float64(1), math.nan])
def test_what_is_no_whole_number(value: object) -> None:
    assert not checks.is_whole(value)


@pytest.mark.parametrize("value", [True, "1", None, math.nan, math.inf, -math.inf, 1j])
def test_what_is_no_number(value: object) -> None:
    assert not checks.is_number(value)


@pytest.mark.parametrize("value", [0, -3, 0.5, np.float32(0.5), np.int64(2)])
def test_what_is_a_number(value: object) -> None:
    assert checks.is_number(value)


@pytest.mark.parametrize(
    ("check", "good", "bad", "expected"),
    [
        (checks.require_seed, (0, 7), (-1, 1.0, True, "x"), "a seed from 0"),
        (checks.require_share, (0, 0.5, 1), (-0.1, 1.1, math.nan, False), "a share from 0 to 1"),
        (checks.require_strength, (0, 8.0, 1e6), (-1, 1e7, math.inf, True), "a strength from 0 to 1e+06"),
        (
            checks.require_multiplicity,
            (0.5, 2),
            (0, -1, math.nan, True),
            "a multiplicity above 0 and up to 1e+06",
        ),
    ],
)
def test_each_kind_has_its_bounds(check, good, bad, expected) -> None:
    assert [check(value, "in a test") for value in good] == list(good)
    for value in bad:
        with pytest.raises(MaskError) as caught:
            check(value, "in a test", error=MaskError)
        assert (caught.value.expected, caught.value.got) == (expected, repr(value))
        assert caught.value.where == "in a test"


def test_bounds_of_whole_numbers_are_included_and_named_in_the_remedy() -> None:
    assert [checks.require_whole(value, "a step", "in a test", least=2, most=3) for value in (2, 3)] == [2, 3]
    for value in (1, 4):
        with pytest.raises(InputError, match=f"expected a step, got {value} in a test; write 2"):
            checks.require_whole(value, "a step", "in a test", least=2, most=3)


def test_ends_that_are_left_out() -> None:
    assert checks.require_number(0.5, "a level", "in a test", above=0, below=1) == 0.5
    for value in (0, 1):
        with pytest.raises(InputError, match="expected a level"):
            checks.require_number(value, "a level", "in a test", above=0, below=1)
