"""Block masks against the rule written out token by token."""

from __future__ import annotations

import numpy as np
import pytest

from attnscope.errors import MaskError
from attnscope.masks import (
    Group,
    Intervention,
    Sides,
    block_mask,
    compile_rule,
    fade,
    first_frame,
    own_text,
    same_shot,
)
from attnscope.shots import ShotPlan

PLAN = ShotPlan.from_latent_frames([3, 5], num_frames_latent=8, fps=16)
SIDES = Sides.of_frames(8)
JOINT = Sides.joint(
    [*(Group("text", index) for index in range(3)), *(Group("frame", index) for index in range(8))]
)


def by_token(relation: np.ndarray, rows: list[int], columns: list[int]) -> np.ndarray:
    return np.repeat(np.repeat(relation, rows, axis=0), columns, axis=1)


def blocks_of(numbers: np.ndarray, size: int) -> list[list[np.ndarray]]:
    """The token map cut into blocks, the last ones shorter."""
    starts = [range(0, length, size) for length in numbers.shape]
    return [[numbers[row : row + size, column : column + size] for column in starts[1]] for row in starts[0]]


@pytest.mark.parametrize("size", [4, 7, 16, 64])
@pytest.mark.parametrize(
    ("rule", "sides", "tokens"),
    [
        (same_shot(PLAN), SIDES, [6] * 8),
        (same_shot(PLAN) | first_frame(), SIDES, [6] * 8),
        (fade(PLAN, 2), SIDES, [6] * 8),
        (same_shot(PLAN).soft(2), SIDES, [6] * 8),
        (same_shot(PLAN), SIDES, [3, 9, 1, 4, 4, 8, 2, 5]),
        (same_shot(PLAN) | own_text(PLAN), JOINT, [5, 2, 4] + [6] * 8),
    ],
)
def test_blocks_against_every_token(rule, sides, tokens, size):
    numbers = by_token(compile_rule(rule, sides), tokens, tokens)
    found = block_mask(rule, sides, tokens, block_size=size)
    for row, line in enumerate(blocks_of(numbers, size)):
        for column, block in enumerate(line):
            seen = ~np.isneginf(block)
            place = (row, column)
            assert found.visible[0][place] == seen.any()
            assert found.partial[place] == (seen.any() and not seen.all())
            assert found.weighted[place] == (block[seen] != 0).any()
    shown = sum(
        block.size * found.visible[0, row, column]
        for row, line in enumerate(blocks_of(numbers, size))
        for column, block in enumerate(line)
    )
    assert found.shown_pairs == shown
    assert found.visible_pairs == (~np.isneginf(numbers)).sum()
    assert found.exact == (shown == found.visible_pairs and not (numbers[~np.isneginf(numbers)] != 0).any())
    assert ("not exact" in found.describe()) == (not found.exact)


def test_frames_looking_at_captions():
    sides = Sides.of_text(8, num_slabs=3)
    rule = own_text(PLAN)
    slabs = [3, 5] * 3
    numbers = by_token(compile_rule(rule, sides), [6] * 8, slabs)
    found = block_mask(rule, sides, 6, slabs, block_size=8)
    assert found.visible.shape == (1, 6, 3)
    for row, line in enumerate(blocks_of(numbers, 8)):
        assert [bool(each) for each in found.visible[0, row]] == [
            bool((~np.isneginf(block)).any()) for block in line
        ]


def test_heads_out_of_an_intervention_see_everything():
    found = block_mask(Intervention(same_shot(PLAN), heads="1,3"), SIDES, 64, num_heads=4)
    assert found.exact
    assert [bool(head.all()) for head in found.visible] == [True, False, True, False]
    assert found.density == pytest.approx((2 + 2 * (9 + 4 + 9) / 64) / 4)


@pytest.mark.parametrize("tokens", [0, [6] * 7, [6] * 7 + [0]])
def test_tokens_that_do_not_fit(tokens):
    with pytest.raises(MaskError, match="at least 1 token for each of 8 groups"):
        block_mask(same_shot(PLAN), SIDES, tokens)


def test_a_block_of_nothing_is_refused():
    with pytest.raises(MaskError, match="a block of at least 1 token"):
        block_mask(same_shot(PLAN), SIDES, 6, block_size=0)
