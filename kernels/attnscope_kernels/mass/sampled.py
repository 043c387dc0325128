"""The frame mass from a sample of the query tokens, for models where even one more look at every token is too much."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .._groups import group_of_token, mean_over_rows
from .._relation import check_inputs
from . import token_mass

MIN_SAMPLES = 16


class SampledMass(NamedTuple):
    """Frame mass estimated from a sample, and the standard error of each number: both (batch, heads, F, G)."""

    mass: Tensor
    standard_error: Tensor


def sampled_frame_mass(
    query: Tensor,
    key: Tensor,
    *,
    query_offsets: Sequence[int],
    key_offsets: Sequence[int],
    scale: float | None = None,
    relation: Tensor | None = None,
    share: float = 1 / 8,
    seed: int = 0,
) -> SampledMass:
    """Estimate how much each frame looks at every frame by asking only some of its tokens.

    Each query frame is cut into strips of neighbouring tokens, and one token is drawn from each strip, so the sample
    is spread over the picture. Their mass is exact (`token_mass`); the frame's is their mean, each weighed by the width
    of its strip. With s of a frame's n tokens and the sample's standard deviation d, the standard error is
    d / sqrt(s) * sqrt(1 - s / n), that of a draw by chance: right for tokens without order, several times too large
    where the mass changes smoothly over the picture. Costs about share / 2 of an attention call.

    Parameters
    ----------
    share
        The part of each frame's query tokens that is asked, above 0 and at most 1 (which gives the exact mass).
    seed
        The same seed draws the same tokens.

    Other arguments and errors are those of `frame_mass`.

    Raises
    ------
    ValueError
        If the share is out of range, or leaves a frame with fewer than 16 tokens (of which no error can be told).

    Examples
    --------
    >>> import torch
    >>> one = torch.zeros(1, 64, 1, 8)
    >>> found = sampled_frame_mass(one, one, query_offsets=(0, 64), key_offsets=(0, 16, 64), share=0.5)
    >>> found.mass[0, 0].tolist(), found.standard_error[0, 0].tolist()
    ([[0.25, 0.75]], [[0.0, 0.0]])
    """
    rows, groups, _ = check_inputs(query, key, None, query_offsets, key_offsets, relation)
    chosen, weights, offsets = draw_tokens(rows, share, seed)
    asked = query.index_select(1, chosen.to(query.device))
    token = token_mass(
        asked, key, query_offsets=offsets, key_offsets=groups, scale=scale, relation=relation
    ).mass
    mass = mean_over_rows(token * weights.to(token)[:, None], offsets)
    counts = torch.tensor([stop - start for start, stop in itertools.pairwise(offsets)]).to(mass)
    sizes = torch.tensor([stop - start for start, stop in itertools.pairwise(rows)]).to(mass)
    of_token = group_of_token(offsets, mass.device)
    spread = mean_over_rows((token - mass[..., of_token, :]).square(), offsets)
    variance = spread * (counts / (counts - 1))[:, None]
    error = (variance * ((1 - counts / sizes) / counts)[:, None]).sqrt()
    return SampledMass(mass, error)


def draw_tokens(
    query_offsets: tuple[int, ...], share: float, seed: int
) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """Draw one token from each strip of each frame: their numbers, their weights, the cumulative counts by frame.

    A token weighs as much as its strip is wide, 1 on average.
    """
    if not 0 < share <= 1:
        raise ValueError(
            f"expected a share above 0 and at most 1, got {share:g}, in sampled_frame_mass; 0.125 asks one token in 8"
        )
    generator = torch.Generator().manual_seed(seed)
    chosen, weights, offsets = [], [], [0]
    for start, stop in itertools.pairwise(query_offsets):
        count = min(stop - start, round(share * (stop - start)))
        if count < MIN_SAMPLES:
            raise ValueError(
                f"expected at least {MIN_SAMPLES} sampled tokens a frame, got {count} of {stop - start}, in "
                f"sampled_frame_mass; raise the share, or measure exactly with frame_mass"
            )
        edges = torch.linspace(0, stop - start, count + 1, dtype=torch.float64).round().long()
        widths = edges.diff()
        inside = (torch.rand(count, generator=generator, dtype=torch.float64) * widths).long()
        chosen.append(start + edges[:-1] + inside)
        weights.append(widths * (count / (stop - start)))
        offsets.append(offsets[-1] + count)
    return torch.cat(chosen), torch.cat(weights), tuple(offsets)
