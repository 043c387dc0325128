"""Muon for convolutions: momentum whose matrix (output channels by everything else) is made orthogonal.

torch's own takes matrices only. Source: Jordan et al., https://kellerjordan.github.io/posts/muon, there for
convolutions too; the scale is that of AdamW (Liu et al., arXiv 2502.16982).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn


def orthogonal(matrix: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Bring all singular values near one, by Newton-Schulz iterations; columns of zeros stay zero."""
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / (wide.norm() + 1e-7)
    for _ in range(steps):
        square = wide @ wide.T
        wide = a * wide + (b * square + c * square @ square) @ wide
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T


class ConvolutionMuon(torch.optim.Optimizer):
    """Muon for weights of two and more dimensions."""

    def __init__(self, weights: Iterable[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Move every weight against its gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(weight)
                average = state["momentum_buffer"].lerp_(weight.grad, 1 - group["momentum"])
                ahead = weight.grad.lerp(average, group["momentum"]).flatten(1)
                change = orthogonal(ahead)
                # columns without a gradient are weights that stay zero; they do not count
                size = max(change.shape[0], int(ahead.any(dim=0).sum()))
                weight.sub_(change.view_as(weight), alpha=0.2 * group["lr"] * size**0.5)
