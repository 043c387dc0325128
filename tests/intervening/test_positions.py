"""Shots moved in time: equal to rotary positions that are computed for the moved frames, and nothing stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import attnscope as scope
from attnscope.errors import InputError, RangeError, ShotPlanError
from attnscope.families import find
from attnscope.intervening.positions import turn
from attnscope.testing.wan import tiny_wan

SMALL = {"height": 32, "width": 32, "num_frames": 17, "num_inference_steps": 2, "output_type": "latent"}
PLAN = scope.ShotPlan.from_latent_frames([2, 4], num_frames_latent=5, fps=16)
SHOT = [0, 0, 1, 1, 2]


@pytest.fixture
def pipe() -> Any:
    return tiny_wan(2)


def video(pipe: Any) -> torch.Tensor:
    found: torch.Tensor = pipe("a red ball", generator=torch.Generator().manual_seed(3), **SMALL).frames
    return found


class MovedPositions(torch.nn.Module):
    """The rotary table of diffusers, read at other frames: whole shifts only."""

    def __init__(self, rope: Any, frames: list[int]) -> None:
        super().__init__()
        self.rope, self.frames = rope, frames

    def forward(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        longer = hidden.new_zeros(*hidden.shape[:2], max(self.frames) + 1, *hidden.shape[3:])
        tables = self.rope(longer)
        per_frame = (table.unflatten(1, (max(self.frames) + 1, -1)) for table in tables)
        cos, sin = (table[:, self.frames].flatten(1, 2) for table in per_frame)
        return cos, sin


@pytest.mark.parametrize(("by", "moved"), [(3, [0, 1, 5, 6, 10]), ([0, 7, 2], [0, 1, 9, 10, 6])])
def test_it_is_what_the_models_own_table_gives_at_the_moved_frames(
    pipe: Any, by: Any, moved: list[int]
) -> None:
    plain = video(pipe)
    with scope.offset_shots(pipe, PLAN, by):
        shifted = video(pipe)
    rope = pipe.transformer.rope
    pipe.transformer.rope = MovedPositions(rope, moved)
    expected = video(pipe)
    pipe.transformer.rope = rope
    assert (expected - plain).abs().max() > 1e-4
    torch.testing.assert_close(shifted, expected, atol=1e-5, rtol=1e-4)
    assert torch.equal(video(pipe), plain)


def test_brute_force_rotation_of_scores() -> None:
    """Scores of turned queries and keys are those of complex numbers whose phases are moved, fractions too."""
    rng = np.random.default_rng(0)
    query, key = rng.normal(size=(2, 1, 4, 1, 6))
    shift, frequencies = np.array([0.0, 0.5, 2.0, -1.25]), np.array([1.0, 0.3])
    made = [turn(*map(torch.from_numpy, (side, shift, frequencies))).numpy() for side in (query, key)]
    scores = np.einsum("bnhd,bmhd->bhnm", *made)[0, 0]
    for n in range(4):
        for m in range(4):
            expected = query[0, n, 0, 4:] @ key[0, m, 0, 4:]
            for pair, frequency in enumerate(frequencies):
                here, there = (
                    side[0, :, 0, 2 * pair] + 1j * side[0, :, 0, 2 * pair + 1] for side in (query, key)
                )
                phase = np.exp(1j * frequency * (shift[n] - shift[m]))
                expected += (here[n] * phase * np.conj(there[m])).real
            assert scores[n, m] == pytest.approx(expected, abs=1e-12)


def test_equal_offsets_change_nothing_and_neither_do_shots_within(pipe: Any) -> None:
    plain = video(pipe)
    with scope.offset_shots(pipe, PLAN, [5, 5, 5]):
        torch.testing.assert_close(video(pipe), plain, atol=1e-5, rtol=1e-4)


def test_frequencies_are_those_of_rope(pipe: Any) -> None:
    rope = pipe.transformer.rope
    expected = 10000.0 ** (-torch.arange(0, rope.t_dim, 2, dtype=torch.float64) / rope.t_dim)
    torch.testing.assert_close(
        find(pipe).temporal_frequencies(pipe.transformer), expected, atol=1e-7, rtol=1e-6
    )


def test_it_says_what_it_does_and_refuses_what_it_cannot(pipe: Any) -> None:
    with scope.offset_shots(pipe, PLAN, 4, layers="2") as attachment:
        assert attachment.changes == ["Shots moved in time by 0, 4, 8 latent frames in layers 2."]
    assert attachment.changes == []
    for by in ([0, 1], float("nan"), "4", [0, 1, float("inf")]):
        with pytest.raises(InputError, match="one for each of 3 shots"), scope.offset_shots(pipe, PLAN, by):
            pass
    with pytest.raises(RangeError), scope.offset_shots(pipe, PLAN, layers="3"):
        pass
    longer = scope.ShotPlan.from_latent_frames([2], num_frames_latent=9, fps=16)
    with (
        pytest.raises(ShotPlanError, match="9 latent frames as planned, got 5"),
        scope.offset_shots(pipe, longer),
    ):
        video(pipe)
