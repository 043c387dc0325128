"""Controls: the same sparsity, to the pair, in a place that has nothing to do with the shots."""

from __future__ import annotations

import numpy as np
import pytest

from attnscope.errors import MaskError
from attnscope.masks import (
    Sides,
    compile_rule,
    equal_band,
    everything,
    first_frame,
    other_boundary,
    own_text,
    permuted,
    same_shot,
)
from attnscope.shots import LatentPlan, ShotPlan

GRID = [(7, 6), (4, 5, 4), (5,), (1, 1, 1), (11, 10), (7, 7, 7), (1, 8, 1), (2, 3, 1, 6, 5)]


def plan_of(lengths: tuple[int, ...]) -> LatentPlan:
    cuts = np.cumsum(lengths)[:-1].tolist()
    return ShotPlan.from_latent_frames(cuts, num_frames_latent=sum(lengths), fps=16).to_latent()


CUT = [lengths for lengths in GRID if 1 < len(lengths) < sum(lengths)]


@pytest.mark.parametrize("lengths", CUT)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shuffled_groups_are_as_large_and_elsewhere(lengths: tuple[int, ...], seed: int) -> None:
    sides = Sides.of_frames(sum(lengths))
    plain = compile_rule(same_shot(plan_of(lengths)), sides)
    shuffled = compile_rule(permuted(same_shot(plan_of(lengths)), seed=seed), sides)
    assert not np.array_equal(shuffled, plain)
    # groups of the same sizes: every frame sees as many as some frame of the plan does, and who sees is seen
    assert sorted((shuffled == 0).sum(1)) == sorted((plain == 0).sum(1))
    assert np.array_equal(shuffled, shuffled.T)
    assert np.array_equal(shuffled == 0, ((shuffled == 0) @ (shuffled == 0)) > 0)
    assert np.array_equal(shuffled, compile_rule(permuted(same_shot(plan_of(lengths)), seed=seed), sides))


def test_shuffling_leaves_text_where_it_is() -> None:
    plan = plan_of((3, 4))
    text = Sides.of_text(7, num_slabs=2)
    moved = permuted(own_text(plan)).relation(text)
    assert sorted(map(tuple, moved)) == sorted(map(tuple, own_text(plan).relation(text)))
    assert not np.array_equal(moved, own_text(plan).relation(text))


@pytest.mark.parametrize("lengths", GRID)
@pytest.mark.parametrize("with_first", [True, False])
def test_a_band_shows_exactly_as_many_pairs_the_nearest_ones(
    lengths: tuple[int, ...], with_first: bool
) -> None:
    num, rule = sum(lengths), same_shot(plan_of(lengths))
    rule = rule | first_frame() if with_first else rule
    sides = Sides.of_frames(num)
    plain, near = (compile_rule(each, sides) == 0 for each in (rule, equal_band(rule, num)))
    assert near.sum() == plain.sum()
    lags = np.abs(np.subtract.outer(np.arange(num), np.arange(num)))
    widest = lags[near].max()
    assert near[lags < widest].all()


@pytest.mark.parametrize("lengths", CUT)
def test_cuts_elsewhere_are_as_many_and_none_of_the_old_where_there_is_room(lengths: tuple[int, ...]) -> None:
    plan = plan_of(lengths)
    moved = other_boundary(plan)
    assert (moved.num_frames, moved.num_shots) == (plan.num_frames, plan.num_shots)
    assert moved.requested_frame == moved.realised_frame
    assert set(moved.cuts) != set(plan.cuts)
    if 2 * len(plan.cuts) <= plan.num_frames - 1:
        assert not set(moved.cuts) & set(plan.cuts)


@pytest.mark.parametrize("lengths", [(5,), (1, 1, 1)])
def test_cuts_that_cannot_move_are_refused(lengths: tuple[int, ...]) -> None:
    with pytest.raises(MaskError, match="at least one cut and room to move it"):
        other_boundary(plan_of(lengths))


def test_what_no_order_changes_cannot_be_shuffled() -> None:
    with pytest.raises(MaskError, match="tells frames apart"):
        compile_rule(permuted(everything()), Sides.of_frames(5))
    with pytest.raises(MaskError, match="seed from 0"):
        permuted(everything(), seed=-1)
