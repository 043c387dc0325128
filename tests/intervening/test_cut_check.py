"""Cuts of a finished film against those asked for: each counts once, and nothing is divided by nothing."""

from __future__ import annotations

import numpy as np
import pytest

from attnscope.intervening.cut_check import CutCheck, check_cuts


@pytest.mark.parametrize(
    ("asked", "found", "matched"),
    [
        ((9,), (9,), 1),
        ((9,), (11,), 1),
        ((9,), (12,), 0),
        ((9,), (), 0),
        ((), (9,), 0),
        ((9, 13), (11,), 1),  # one cut is one cut, though two are near
        ((9,), (8, 10), 1),
        ((9, 11), (8, 10), 2),
    ],
)
def test_a_cut_counts_once(asked: tuple[int, ...], found: tuple[int, ...], matched: int) -> None:
    check = CutCheck(asked, found)
    assert check.num_matched == matched
    assert check.recall == (matched / len(asked) if asked else None)
    assert check.precision == (matched / len(found) if found else None)


def test_transition_control_counts_cuts_and_is_none_without_a_wish() -> None:
    assert CutCheck((9, 13), (9, 13)).transition_control == 1.0
    assert CutCheck((9, 13), (9,)).transition_control == pytest.approx(0.680, abs=6e-4)
    assert CutCheck((9,), ()).transition_control == 0.0
    assert CutCheck((), (3,)).transition_control is None


def test_the_first_latent_frame_may_be_a_shot() -> None:
    film = np.zeros((17, 8, 8, 3), np.uint8)
    film[1:] = 255
    assert check_cuts((1,), film).num_matched == 1
