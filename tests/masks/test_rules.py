"""Each rule against its sentence, pair by pair in plain Python; what composition means; what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnscope.errors import MaskError
from attnscope.masks import (
    Group,
    MaskRule,
    Ramp,
    Sides,
    anchors,
    band,
    compile_rule,
    decay,
    everything,
    fade,
    first_frame,
    from_array,
    general_text,
    halo,
    next_shot,
    own_text,
    padding_text,
    permuted,
    previous_shot,
    same_shot,
    sampled,
    shot_causal,
    shot_starts,
    transitions,
)
from attnscope.shots import LatentPlan, ShotPlan

PLANS = [(13, (7,)), (13, (4, 9)), (5, ()), (4, (1, 2, 3)), (21, (11,)), (9, (1, 8)), (17, (2, 5, 6, 12))]


def plan_of(num_frames: int, cuts: tuple[int, ...]) -> LatentPlan:
    return ShotPlan.from_latent_frames(cuts, num_frames_latent=num_frames, fps=16).to_latent()


def shot(frame: int, cuts: tuple[int, ...]) -> int:
    return sum(frame >= cut for cut in cuts)


def edges(frame: int, num_frames: int, cuts: tuple[int, ...]) -> tuple[int, int]:
    own = [other for other in range(num_frames) if shot(other, cuts) == shot(frame, cuts)]
    return own[0], own[-1]


def hard(visible: bool) -> float:
    return 0.0 if visible else -math.inf


# name of the rule: how it is made from a plan, and its number for (query, key, num_frames, cuts)
BY_HAND: dict[
    str, tuple[Callable[[LatentPlan], MaskRule], Callable[[int, int, int, tuple[int, ...]], float]]
] = {
    "same_shot": (same_shot, lambda i, j, n, cuts: hard(shot(i, cuts) == shot(j, cuts))),
    "previous_shot": (previous_shot, lambda i, j, n, cuts: hard(shot(j, cuts) == shot(i, cuts) - 1)),
    "next_shot": (next_shot, lambda i, j, n, cuts: hard(shot(j, cuts) == shot(i, cuts) + 1)),
    "shot_causal": (shot_causal, lambda i, j, n, cuts: hard(shot(j, cuts) <= shot(i, cuts))),
    "halo": (
        lambda plan: halo(plan, 2),
        lambda i, j, n, cuts: hard(edges(i, n, cuts)[0] - 2 <= j <= edges(i, n, cuts)[1] + 2),
    ),
    "fade": (
        lambda plan: fade(plan, 3),
        lambda i, j, n, cuts: (
            0.0
            if shot(i, cuts) == shot(j, cuts)
            else math.log(1 - abs(i - j) / 4)
            if abs(i - j) < 4
            else -math.inf
        ),
    ),
    "shot_starts": (
        lambda plan: shot_starts(plan, 2),
        lambda i, j, n, cuts: hard(j - edges(j, n, cuts)[0] < 2),
    ),
    "own_start_twice": (
        lambda plan: shot_starts(plan, of="own", times=2),
        lambda i, j, n, cuts: math.log(2) if j == edges(i, n, cuts)[0] else -math.inf,
    ),
    "anchors": (lambda plan: anchors(plan, 0), lambda i, j, n, cuts: hard(shot(j, cuts) == 0)),
    "first_frame": (
        lambda plan: first_frame(2, times=3),
        lambda i, j, n, cuts: math.log(3) if j < 2 else -math.inf,
    ),
    "band": (lambda plan: band(2), lambda i, j, n, cuts: hard(abs(i - j) <= 2)),
    "decay": (
        lambda plan: decay(2.0, 5.0),
        lambda i, j, n, cuts: 5.0 * (math.exp(-((i - j) ** 2) / 8.0) - 1.0),
    ),
    "everything": (lambda plan: everything(), lambda i, j, n, cuts: 0.0),
}


@pytest.mark.parametrize(("num_frames", "cuts"), PLANS)
@pytest.mark.parametrize("name", BY_HAND)
def test_a_rule_says_its_sentence_pair_by_pair(name: str, num_frames: int, cuts: tuple[int, ...]) -> None:
    build, number = BY_HAND[name]
    relation = build(plan_of(num_frames, cuts)).relation(Sides.of_frames(num_frames))
    by_hand = [[number(i, j, num_frames, cuts) for j in range(num_frames)] for i in range(num_frames)]
    np.testing.assert_allclose(relation, by_hand, rtol=1e-12)
    assert relation.dtype == np.float64


@pytest.mark.parametrize("name", BY_HAND)
def test_a_rule_about_frames_has_no_opinion_on_text(name: str) -> None:
    rule = BY_HAND[name][0](plan_of(13, (4, 9)))
    assert np.isnan(rule.relation(Sides.of_text(13, num_slabs=3))).all()


@pytest.mark.parametrize(
    "name", [*BY_HAND, "own_text", "general_text", "padding_text", "transitions", "sampled"]
)
def test_every_rule_says_itself_in_one_sentence(name: str) -> None:
    others = {
        "own_text": own_text,
        "general_text": general_text,
        "padding_text": lambda plan: padding_text(),
        "transitions": transitions,
        "sampled": lambda plan: sampled(0.5),
    }
    build = BY_HAND[name][0] if name in BY_HAND else others[name]
    sentence = build(plan_of(13, (4, 9))).describe()
    assert sentence.startswith("A frame sees ")
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_a_plan_in_video_frames_finds_its_latent_frames() -> None:
    plan = ShotPlan.from_frames([40], num_frames=81, fps=16)
    assert np.array_equal(
        same_shot(plan).relation(Sides.of_frames(21)),
        same_shot(plan.to_latent()).relation(Sides.of_frames(21)),
    )
    undivided = ShotPlan.from_frames([9], num_frames=16, fps=8)
    blocks = same_shot(undivided).relation(Sides.of_frames(16, stride=1))
    assert np.isneginf(blocks[8, 9])
    assert blocks[9, 15] == 0


weights = st.sampled_from([0.0, -math.inf, -2.0, math.log(2.0), -0.5])
squares = st.lists(st.lists(weights, min_size=3, max_size=3), min_size=3, max_size=3)


@given(squares, squares)
def test_or_takes_the_larger_and_the_smaller_plus_adds(
    first: list[list[float]], second: list[list[float]]
) -> None:
    a, b, sides = from_array(first), from_array(second), Sides.of_frames(3)
    for i in range(3):
        for j in range(3):
            one, other = first[i][j], second[i][j]
            assert (a | b).relation(sides)[i, j] == max(one, other)
            assert (a & b).relation(sides)[i, j] == min(one, other)
            assert (a + b).relation(sides)[i, j] == one + other


@given(squares)
def test_soft_and_times_touch_only_what_they_name(values: list[list[float]]) -> None:
    rule, sides = from_array(values), Sides.of_frames(3)
    soft, twice = rule.soft(4.0).relation(sides), rule.times(2).relation(sides)
    for i in range(3):
        for j in range(3):
            hidden = values[i][j] == -math.inf
            assert soft[i, j] == (-4.0 if hidden else values[i][j])
            assert twice[i, j] == (0.0 if hidden else math.log(2.0))


def test_not_swaps_shown_and_hidden_and_twice_is_nothing() -> None:
    rule, sides = same_shot(plan_of(13, (4, 9))), Sides.of_frames(13)
    assert np.array_equal((~rule).relation(sides) == 0, np.isneginf(rule.relation(sides)))
    assert np.array_equal((~~rule).relation(sides), rule.relation(sides))


def test_where_one_rule_is_silent_the_other_speaks() -> None:
    plan = plan_of(2, (1,))
    groups = [Group("frame", 0), Group("frame", 1), Group("text", 0), Group("text", 1)]
    rule = same_shot(plan) | own_text(plan)
    expected = [[hard(i % 2 == j % 2) for j in range(4)] for i in range(4)]
    for joined in (rule, same_shot(plan) & own_text(plan), same_shot(plan) + own_text(plan)):
        assert joined.relation(Sides.joint(groups)).tolist() == expected
    # alone, a rule about frames leaves text visible
    assert compile_rule(same_shot(plan), Sides.joint(groups))[:, 2:].tolist() == [[0, 0]] * 4


def test_text_is_routed_to_its_shot() -> None:
    cuts, num_frames = (4, 9), 13
    plan, sides = plan_of(num_frames, cuts), Sides.of_text(num_frames, num_slabs=4)
    routed = compile_rule(own_text(plan) | general_text(plan), sides)
    hidden_padding = compile_rule((own_text(plan) | general_text(plan)) & ~padding_text(), sides)
    for frame in range(num_frames):
        for column, group in enumerate(sides.keys):
            visible = group.index in (shot(frame, cuts), 3)
            assert routed[frame, column] == hard(visible)
            assert hidden_padding[frame, column] == hard(visible and group.kind == "text")


def test_a_transition_token_touches_the_frames_at_its_boundary_only() -> None:
    plan = plan_of(4, (1, 3))
    groups = [*(Group("frame", i) for i in range(4)), Group("transition", 0), Group("transition", 1)]
    relation = transitions(plan).relation(Sides.joint(groups))
    frame_sees = [[hard(frame in (cut - 1, cut)) for cut in (1, 3)] for frame in range(4)]
    assert relation[:4, 4:].tolist() == frame_sees
    assert relation[4:, :4].T.tolist() == frame_sees
    assert relation[4:, 4:].tolist() == [[0, -math.inf], [-math.inf, 0]]
    assert np.isnan(relation[:4, :4]).all()


@pytest.mark.parametrize("per", ["column", "pair"])
def test_a_draw_follows_its_seed_and_its_share(per: str) -> None:
    sides = Sides.of_frames(200)
    first, again, other = (
        sampled(0.3, seed=seed, per=per).relation(sides)  # type: ignore[arg-type]
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    visible = first == 0
    assert abs(visible.mean() - 0.3) < 0.1
    assert (visible == visible[:1]).all() == (per == "column")


def test_a_ramp_follows_the_noise_level() -> None:
    rule = same_shot(plan_of(2, (1,))).soft(Ramp(8.0, 2.0))
    for sigma, alpha in ((1.0, 8.0), (0.5, 5.0), (0.0, 2.0)):
        assert compile_rule(rule, Sides.of_frames(2, sigma=sigma))[0, 1] == -alpha


def test_a_decay_in_units_of_the_largest_score() -> None:
    sides = Sides(*[tuple(Group("frame", i) for i in range(2))] * 2, largest=(3.0, 0.5))
    relation = decay(1.0, 2.0, by_largest=True).relation(sides)
    fall = math.exp(-0.5) - 1
    np.testing.assert_allclose(relation, [[0, 6 * fall], [1 * fall, 0]])


PLAN = plan_of(5, (3,))
REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "no plan": (lambda: same_shot(None), "expected a ShotPlan for this rule, got None"),  # type: ignore[arg-type]
    "a plan as text": (lambda: own_text("0-1s"), "expected a ShotPlan .* own_text"),  # type: ignore[arg-type]
    "halo of less than nothing": (lambda: halo(PLAN, -1), "from 0, got -1 in halo"),
    "halo of half a frame": (lambda: halo(PLAN, 0.5), "whole number .* got 0.5"),  # type: ignore[arg-type]
    "fade of a truth": (lambda: fade(PLAN, True), "got True in fade"),
    "no first frame": (lambda: first_frame(0), "from 1, got 0 in first_frame"),
    "counted zero times": (lambda: first_frame(times=0), "multiplicity above 0 .* got 0"),
    "counted nan times": (lambda: same_shot(PLAN).times(math.nan), "multiplicity above 0 .* got nan"),
    "starts of no shot": (lambda: shot_starts(PLAN, of="next"), '"every" or "own" shot'),  # type: ignore[arg-type]
    "anchor beyond": (lambda: anchors(PLAN, 2), r"among 0 to 1, got \(2,\) in anchors"),
    "anchor before": (lambda: anchors(PLAN, -1), r"among 0 to 1, got \(-1,\)"),
    "band of less than nothing": (lambda: band(-1), "from 0, got -1 in band"),
    "decay of no width": (lambda: decay(0.0), "width above 0, got 0 in decay"),
    "decay without end": (lambda: decay(1.0, math.inf), "strength from 0 .* got inf"),
    "soft below nothing": (lambda: same_shot(PLAN).soft(-1), "strength from 0 .* got -1 in soft"),
    "soft as text": (lambda: same_shot(PLAN).soft("4"), "strength .* got '4'"),  # type: ignore[arg-type]
    "ramp of nan": (lambda: Ramp(math.nan, 0), "strength .* got nan in ramp"),
    "ramp without noise level": (
        lambda: compile_rule(same_shot(PLAN).soft(Ramp(8, 0)), Sides.of_frames(5)),
        "expected a known noise level",
    ),
    "share above one": (lambda: sampled(1.5), "share from 0 to 1, got 1.5"),
    "seed below zero": (lambda: sampled(0.5, seed=-1), "seed from 0, got -1"),
    "draw per what": (lambda: sampled(0.5, per="row"), 'per "column" or "pair"'),  # type: ignore[arg-type]
    "or with a number": (lambda: same_shot(PLAN) | 3, r"mask rule after \|, got 3"),  # type: ignore[operator]
    "and with nothing": (lambda: same_shot(PLAN) & None, "mask rule after &"),  # type: ignore[operator]
    "not of weights": (
        lambda: (~fade(PLAN, 2)).relation(Sides.of_frames(5)),
        "only shows or hides under ~",
    ),
    "an array that is no square": (lambda: from_array([[0.0, 1.0]]), r"square of numbers, .* \(1, 2\)"),
    "an array of nan": (lambda: from_array([[math.nan]]), "finite numbers and -inf"),
    "an empty array": (lambda: from_array([]), r"square of numbers"),
    "an array for another video": (
        lambda: compile_rule(from_array([[0.0]]), Sides.of_frames(5)),
        "numbers for 5 latent frames, .* got 1",
    ),
    "a plan for another video": (
        lambda: compile_rule(same_shot(PLAN), Sides.of_frames(13)),
        "plan of 13 latent frames, .* got one of 5",
    ),
    "a first shot that sees nothing": (
        lambda: compile_rule(previous_shot(PLAN), Sides.of_frames(5)),
        "got frame 0 that sees nothing",
    ),
    "a caption that is not there": (
        lambda: compile_rule(own_text(PLAN), Sides.of_text(5, num_slabs=1)),
        "got frame 3 that sees nothing",
    ),
    "no frames at all": (lambda: Sides.of_frames(0), "groups on both sides, got 0"),
    "a group nobody knows": (lambda: Sides.joint([Group("sound", 0)]), "groups of kind frame, text"),  # type: ignore[arg-type]
    "no largest score": (
        lambda: compile_rule(decay(1.0, by_largest=True), Sides.of_frames(5)),
        "expected the largest score",
    ),
    "no rule to compile": (lambda: compile_rule("same_shot", Sides.of_frames(5)), "expected a mask rule"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_refused_in_one_line(case: str) -> None:
    attempt, words = REFUSED[case]
    with pytest.raises(MaskError, match=words) as caught:
        attempt()
    assert "\n" not in str(caught.value)
    assert "; " in str(caught.value)


BY_LARGEST = decay(2.0, by_largest=True)


@pytest.mark.parametrize(
    "rule",
    [
        BY_LARGEST,
        BY_LARGEST | band(1),
        band(1) & BY_LARGEST,
        band(1) + BY_LARGEST,
        ~BY_LARGEST,
        BY_LARGEST.soft(4),
        BY_LARGEST.times(2),
        permuted(BY_LARGEST),
        (band(1) | BY_LARGEST).times(2) & everything(),
    ],
    ids=lambda rule: type(rule).__name__,
)
def test_a_rule_needs_what_a_rule_in_it_needs(rule: MaskRule) -> None:
    assert rule.needs_largest
    assert not (band(1) | everything()).times(2).needs_largest
