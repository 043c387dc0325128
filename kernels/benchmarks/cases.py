"""What is measured: shapes of real models, and plans of shots."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor


@dataclass(frozen=True)
class Shape:
    """One attention call of a model: frames, tokens a frame, heads, head size; batch is places for a UNet."""

    name: str
    frames: int
    tokens_a_frame: int
    heads: int
    size: int
    batch: int = 1

    @property
    def tokens(self) -> int:
        """Tokens in all."""
        return self.frames * self.tokens_a_frame

    @property
    def offsets(self) -> tuple[int, ...]:
        """Cumulative token counts of the frames."""
        return tuple(range(0, self.tokens + 1, self.tokens_a_frame))

    @property
    def flop(self) -> float:
        """Floating-point operations of one unmasked forward: two products of N x N x D for each head."""
        return 4.0 * self.batch * self.heads * self.tokens**2 * self.size

    def draw(self, device: str, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Random query, key and value, always the same."""
        generator = torch.Generator().manual_seed(0)
        shape = (self.batch, self.tokens, self.heads, self.size)
        return tuple(torch.randn(shape, generator=generator).to(device, dtype) for _ in range(3))  # type: ignore[return-value]


CUDA = (
    Shape("Wan2.1-1.3B 480p", 21, 1560, 12, 128),
    Shape("Wan2.1-14B 720p", 21, 3600, 40, 128),
    Shape("CogVideoX-5B", 13, 1350, 48, 64),
    Shape("UNet level", 16, 1, 8, 40, batch=2 * 64 * 64),
)
CPU = (
    Shape("21 x 256, 12 x 128", 21, 256, 12, 128),
    Shape("21 x 256, 4 x 64", 21, 256, 4, 64),
    Shape("21 x 64, 12 x 128", 21, 64, 12, 128),
    Shape("21 x 64, 4 x 64", 21, 64, 4, 64),
    Shape("UNet level", 16, 1, 8, 40, batch=2048),
)
# Enough to see that everything runs; no number of these means anything.
QUICK = (Shape("21 x 64, 4 x 64", 21, 64, 4, 64), Shape("UNet level", 16, 1, 8, 40, batch=64))
NUM_SHOTS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Plan:
    """Equal shots (as far as frames can be shared out), each frame seeing its own and maybe the first frame."""

    num_shots: int
    first_frame: bool

    def shots(self, frames: int) -> list[tuple[int, int]]:
        """First and stop frame of each shot."""
        lengths = [frames // self.num_shots + (i < frames % self.num_shots) for i in range(self.num_shots)]
        return list(pairwise(accumulate(lengths, initial=0)))

    def visible_pairs(self, frames: int) -> Tensor:
        """Which frame sees which: bool (frames, frames)."""
        seen = torch.zeros(frames, frames, dtype=torch.bool)
        for start, stop in self.shots(frames):
            seen[start:stop, start:stop] = True
        if self.first_frame:
            seen[:, 0] = True
        return seen


def plans(frames: int) -> Iterator[Plan]:
    """Every number of shots with and without the first frame; one shot sees it anyway."""
    for num_shots in NUM_SHOTS:
        if num_shots <= frames:
            yield Plan(num_shots, first_frame=False)
            if num_shots > 1:
                yield Plan(num_shots, first_frame=True)
