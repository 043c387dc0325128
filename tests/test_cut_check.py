"""Cuts of a finished video: found where a drawn film has them, and paired with those asked for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from attnscope.dataset import render, sample_scene
from attnscope.intervening import check_cuts, find_cuts


@pytest.mark.parametrize("num_shots", [1, 2, 3, 4])
def test_cuts_of_drawn_films_are_found_to_the_frame(num_shots: int) -> None:
    exact = 0
    for seed in range(40_000_000, 40_000_020):
        scene = sample_scene(seed, num_shots=num_shots, num_frames=49)
        exact += find_cuts(render(scene)) == scene.plan.cuts_frame
    assert exact >= 18


def test_a_cut_that_is_smeared_over_a_latent_frame_begins_where_it_begins() -> None:
    film = np.zeros((33, 8, 8, 3))
    film[13:] = 255
    for frame, share in zip(range(13, 17), (0.4, 0.7, 0.9, 1.0), strict=True):
        film[frame] = 255 * share
    assert find_cuts(film.astype(np.uint8)) == (13,)


def test_a_fast_camera_is_no_cut() -> None:
    """Change over a latent frame as large as that of a cut, but all along."""
    ramp = (np.arange(64) * 4) % 128
    film = np.stack(
        [np.roll(ramp, 6 * frame)[None, :, None].repeat(64, 0).repeat(3, 2) for frame in range(49)]
    )
    assert find_cuts(film.astype(np.uint8)) == ()


def test_a_still_and_a_very_short_film_have_no_cut() -> None:
    assert find_cuts(np.full((17, 8, 8, 3), 90, np.uint8)) == ()
    assert find_cuts(np.zeros((2, 8, 8, 3), np.uint8)) == ()


@pytest.mark.parametrize(
    ("asked", "found", "matched"),
    [
        ([9], [9], 1),
        ([9], [11], 1),
        ([9], [12], 0),
        ([9], [], 0),
        ([], [9], 0),
        ([9, 13], [11], 1),  # one cut is one cut, though two are near
        ([9], [8, 10], 1),
        ([9, 11], [10, 8], 2),
    ],
)
def test_a_cut_counts_once(asked: list[int], found: list[int], matched: int) -> None:
    check = check_cuts(asked, found)
    assert check.num_matched == matched
    assert check.recall == (matched / len(asked) if asked else None)
    assert check.precision == (matched / len(found) if found else None)


@pytest.mark.parametrize(
    ("ratio", "score"), [((4, 0), 0.0), ((4, 1), 0.280), ((4, 2), 0.680), ((4, 3), 0.927), ((1, 1), 1.0),
                         ((2, 3), 0.860), ((1, 2), 0.612), ((1, 3), 0.236), ((1, 4), 0.076)],
)  # fmt: skip
def test_transition_control_is_the_published_curve(ratio: tuple[int, int], score: float) -> None:
    asked, found = ratio
    check = check_cuts(range(0, 10 * asked, 10), range(5, 10 * found + 5, 10))
    assert check.transition_control is not None
    assert math.isclose(check.transition_control, score, abs_tol=6e-4)
    assert check_cuts([], [3]).transition_control is None
