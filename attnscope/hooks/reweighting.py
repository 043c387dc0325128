"""Giving attention another frame mass: the bias between frames under which its mass is the one that was written.

Legend: B batch, H heads, N query tokens, F query frames, G key groups, V videos, P places
of a video, n the query tokens of one frame.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from attnscope.errors import InputError, RunError

ROW_TOLERANCE = 1e-3
"""How far the rows of a written mass may be from 1."""

_PRECISION = 1e-9
_MAX_STEPS = 100
_RIDGE = 1e-12
# A token that gave nothing to a group, as far as its precision tells, counts as having given this.
_LEAST = 1e-300


def check_written(written: object, shown: Tensor, where: str) -> Tensor:
    """Return a frame mass that somebody wrote in place of `shown`, or say why it cannot be one.

    Raises
    ------
    InputError
        If its shape differs, it is no probability in every row, or it gives mass to what is hidden.
    """
    if not isinstance(written, Tensor) or written.shape != shown.shape or not written.is_floating_point():
        got = tuple(written.shape) if isinstance(written, Tensor) else type(written).__name__
        raise InputError(
            expected=f"a frame mass of shape {tuple(shown.shape)}",
            got=f"{got}",
            where=f"at {where}",
            remedy="write what was shown, with other numbers in it",
        )
    given = written.detach()
    if not bool(torch.isfinite(given).all()) or bool((given < 0).any()):
        raise InputError(
            expected="shares of attention from 0 to 1",
            got="negative numbers or none",
            where=f"at {where}",
            remedy="write 0 where no attention shall go",
        )
    wrong = (given.sum(-1) - shown.sum(-1)).abs()
    if bool((wrong > ROW_TOLERANCE).any()):
        place = tuple(int(index) for index in (wrong == wrong.max()).nonzero()[0])
        raise InputError(
            expected="rows that sum to 1",
            got=f"{float(given[place].sum()):.4g} in row {place}",
            where=f"at {where}",
            remedy="divide by mass.sum(-1, keepdim=True)",
        )
    if bool(((shown == 0) & (given > 0)).any()):
        raise InputError(
            expected="no mass where attention is hidden",
            got="some",
            where=f"at {where}",
            remedy="leave hidden pairs at 0",
        )
    return written


def bias_for_mass(token_mass_BHNG: Tensor, mass: Tensor, query_offsets: Sequence[int]) -> Tensor:
    """Find the bias (B, H, F, G) under which attention has this frame mass.

    Of all attention that has the mass, softmax(scores + bias) is the one nearest to what the model does (least
    Kullback-Leibler divergence, averaged over the tokens of a frame): what a token thinks of the tokens within a frame
    is left alone. Where the tokens of a frame agree, the bias is log(new mass / old mass); where they do not, Newton's
    method solves `mean over tokens i of token_mass[i, g] e^bias[g] / sum_h token_mass[i, h] e^bias[h] = mass[g]`, a
    concave problem with one solution up to a constant.

    Parameters
    ----------
    token_mass_BHNG
        What every query token gives to every group.
    mass
        (videos, H, F, G): where the batch holds several places of a video, one mass holds for all its places.
    query_offsets
        Cumulative token counts of the query frames.

    Returns
    -------
    Tensor
        Natural-log units, -inf where the mass is 0, differentiable in both tensors (implicitly, at the solution).

    Examples
    --------
    >>> tokens = torch.tensor([[[[0.5, 0.5], [0.25, 0.75]]]])
    >>> wanted = torch.tensor([[[[0.8, 0.2], [0.25, 0.75]]]])
    >>> bias = bias_for_mass(tokens, wanted, (0, 1, 2))
    >>> (tokens * bias.exp() / (tokens * bias.exp()).sum(-1, keepdim=True)).mul(100).round().tolist()
    [[[[80.0, 20.0], [25.0, 75.0]]]]
    """
    num_places = token_mass_BHNG.shape[0] // mass.shape[0]
    token_VPHNG = token_mass_BHNG.double().reshape(-1, num_places, *token_mass_BHNG.shape[1:])
    token = token_VPHNG.transpose(1, 2)
    wanted = mass.double().to(token.device)
    rows = [
        _row_bias(token[..., start:stop, :].flatten(2, 3), wanted[:, :, row])
        for row, (start, stop) in enumerate(itertools.pairwise(query_offsets))
    ]
    return torch.stack(rows, dim=2).repeat_interleave(num_places, 0)


def _row_bias(token_VHnG: Tensor, wanted_VHG: Tensor) -> Tensor:
    """The bias of one query frame, (videos, H, G)."""
    blind = wanted_VHG.detach().sum(-1, keepdim=True) == 0  # a row that looks at nothing stays as it is
    wanted = torch.where(blind, 1.0, wanted_VHG)
    wanted = wanted / wanted.sum(-1, keepdim=True)
    token = token_VHnG.clamp_min(_LEAST)
    hidden = wanted.detach() == 0
    with torch.no_grad():
        bias = (wanted / token.mean(-2)).log()
        for _ in range(_MAX_STEPS):
            gap, step = _newton(token, bias, wanted, hidden)
            if float(gap.abs().max()) < _PRECISION:
                break
            # Damped so that every step gains, however far the solution; whole steps near it.
            reach = (step.amax(-1, keepdim=True) - step.amin(-1, keepdim=True)).clamp_min(1e-12)
            bias = bias + step * reach.log1p() / reach
        else:
            raise RunError(
                expected="a frame mass that this attention can have",
                got=f"one that it misses by {float(gap.abs().max()):.1g} after {_MAX_STEPS} steps",
                where="in bias_for_mass",
                remedy="write one nearer to its own",
            )
    if torch.is_grad_enabled() and (token_VHnG.requires_grad or wanted_VHG.requires_grad):
        # One more step from the solution: it moves nothing, and its derivative is that of the solution.
        bias = bias + _newton(token, bias, wanted, hidden)[1]
    return bias.masked_fill(hidden, -torch.inf).masked_fill(blind, 0.0)


def _newton(token: Tensor, bias: Tensor, wanted: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """What is missing to the wanted mass, and the step of the bias that would bring it: both (videos, H, G)."""
    weighed = token * bias.masked_fill(hidden, -torch.inf).exp()[..., None, :]
    share = weighed / weighed.sum(-1, keepdim=True)
    mass = share.mean(-2)
    gap = wanted - mass
    # The slope of the mass is diag(mass) - share^T share / n. Divided by the root of the mass on both sides its
    # diagonal is near 1, however small a mass; the root itself is its null direction, for a constant on all groups
    # moves nothing, and is held fast.
    root = mass.detach().clamp_min(_LEAST).sqrt()
    scaled = share.detach() / root[..., None, :]
    slope = (
        torch.diag_embed(torch.full_like(root, 1 + _RIDGE))
        - scaled.transpose(-1, -2) @ scaled / share.shape[-2]
    )
    slope = slope + root[..., None, :] * root[..., :, None]
    return gap, torch.linalg.solve(slope, gap / root) / root
