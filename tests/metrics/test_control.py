"""Control: the published curve, pairings against every pairing there is, a score worked by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnscope.errors import InputError
from attnscope.metrics import (
    agreement,
    latent_agreement,
    match_cuts,
    probabilities_at,
    shot_cut_accuracy,
    transition_control,
)
from attnscope.metrics.control import latent_of_cut
from attnscope.shots import ShotPlan

# digitised from the figure of the paper, by somebody else
PUBLISHED = {
    0: 0,
    0.25: 0.280,
    0.333: 0.422,
    0.5: 0.680,
    0.667: 0.866,
    0.75: 0.927,
    1: 1,
    1.333: 0.930,
    1.5: 0.860,
    2: 0.612,
    3: 0.236,
    4: 0.076,
}
CUTS = st.lists(st.integers(1, 60), max_size=5, unique=True).map(sorted)


@pytest.mark.parametrize("x", PUBLISHED)
def test_the_curve_is_the_published_one(x: float) -> None:
    found, asked = round(12 * x), 12
    assert transition_control(found, asked) == pytest.approx(PUBLISHED[x], abs=0.005)


def test_a_video_without_cuts_has_no_control_unless_shots_are_counted() -> None:
    assert transition_control(0, 3) == 0
    assert transition_control(0, 3, count="shots") == pytest.approx(0.280, abs=0.005)
    assert math.isnan(transition_control(2, 0))
    assert transition_control(0, 0, count="shots") == 1


@pytest.mark.parametrize(("found", "asked", "count"), [(-1, 2, "cuts"), (1, -2, "cuts"), (1, 2, "frames")])
def test_numbers_that_are_none_are_refused(found: int, asked: int, count: str) -> None:
    with pytest.raises(InputError, match="expected numbers of cuts"):
        transition_control(found, asked, count=count)  # type: ignore[arg-type]


def every_pairing(found: list[int], asked: list[int]) -> list[list[tuple[int, int]]]:
    """All ways to pair some of one with some of the other, one to one."""
    return [
        list(zip(chosen, order, strict=True))
        for size in range(min(len(found), len(asked)) + 1)
        for chosen in itertools.combinations(found, size)
        for order in itertools.permutations(asked, size)
    ]


@settings(deadline=None, max_examples=60)
@given(CUTS, CUTS, st.integers(0, 20))
def test_the_pairing_is_the_best_of_all(found: list[int], asked: list[int], tolerance: int) -> None:
    allowed = [
        pairs for pairs in every_pairing(found, asked) if all(abs(a - b) <= tolerance for a, b in pairs)
    ]
    best = min((-len(pairs), sum(abs(a - b) for a, b in pairs)) for pairs in allowed)
    pairs = match_cuts(found, asked, tolerance_frame=tolerance)
    assert (-len(pairs), sum(abs(a - b) for a, b in pairs)) == best


@settings(deadline=None, max_examples=60)
@given(CUTS, CUTS, st.floats(0.5, 40))
def test_cut_accuracy_pays_the_least_it_can(found: list[int], asked: list[int], penalty: float) -> None:
    costs = [
        sum(abs(a - b) for a, b in pairs) + penalty * (len(found) + len(asked) - 2 * len(pairs))
        for pairs in every_pairing(found, asked)
    ]
    score = shot_cut_accuracy(found, asked, num_frames=64, penalty_frame=penalty)
    assert score == pytest.approx(math.exp(-min(costs) / 64))


def test_cut_accuracy_worked_by_hand() -> None:
    # 120 frames, asked at 40 and 80: shots of 40, so a missing cut costs 40. 43 is 3 late, 80 is missing: 43 frames
    assert shot_cut_accuracy([43], [40, 80], num_frames=120) == pytest.approx(math.exp(-43 / 120))
    # one too many costs as much; two far cuts are cheaper apart than together
    assert shot_cut_accuracy([40, 80, 100], [40, 80], num_frames=120) == pytest.approx(math.exp(-40 / 120))
    assert shot_cut_accuracy([100], [10], num_frames=120, penalty_frame=20) == pytest.approx(
        math.exp(-40 / 120)
    )
    assert shot_cut_accuracy([], [], num_frames=120) == 1


def test_agreement_counts_each_cut_once() -> None:
    both = agreement([10, 11], [10], tolerance_frame=2)
    assert (both.precision, both.recall, both.offset_frame) == (0.5, 1, 0)
    assert both.f1 == pytest.approx(2 / 3)
    early = agreement([9, 48], [10, 50], tolerance_frame=2)
    assert (early.f1, early.offset_frame) == (1, -1.5)
    nothing = agreement([], [], tolerance_frame=2)
    assert all(math.isnan(each) for each in nothing[:4])
    with pytest.raises(InputError, match="expected a tolerance of 0 frames"):
        agreement([1], [1], tolerance_frame=-1)


@pytest.mark.parametrize("frame", range(1, 81))
def test_a_cut_goes_to_the_latent_frame_that_a_plan_gives_it(frame: int) -> None:
    expected = ShotPlan.from_frames([frame], num_frames=85, fps=16).to_latent(4).cuts
    assert (latent_of_cut(frame),) == expected


def test_on_the_grid_a_cut_that_had_to_move_agrees() -> None:
    # a Wan model asked for frame 16 or 18 cuts at 17
    assert latent_agreement([17], [16]).f1 == latent_agreement([17], [18]).f1 == 1
    assert latent_agreement([17], [20]).f1 == 0
    assert latent_agreement([17], [16], stride=1).f1 == 0


def test_probabilities_are_read_where_the_cut_would_show() -> None:
    ends = np.zeros(50)
    ends[20] = 0.2  # frame 20 ends a shot: the cut is at 21
    for cut in range(1, 50):
        (value,) = probabilities_at(ends, [cut], tolerance_frame=2)
        assert value == (0.2 if abs(cut - 21) <= 2 else 0.0)
    assert probabilities_at(ends, [], tolerance_frame=2) == []
