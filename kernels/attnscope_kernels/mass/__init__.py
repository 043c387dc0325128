"""How much attention each query frame gives to each key frame, exact, without a token x token map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, einsum, is_grad_enabled  # by name: `torch` here is the submodule beside this file

from .._relation import check_inputs, default_scale
from .._select import Implementation, select
from .reference import dense_scores, mean_over_rows, sum_over_groups
from .torch import TokenMass, chunked, split


class FrameMass(NamedTuple):
    """What attention gave to each frame, the logarithm it was normalised by, and its output where wanted."""

    output: Tensor | None
    lse: Tensor
    mass: Tensor


def frame_mass(
    query: Tensor,
    key: Tensor,
    value: Tensor | None = None,
    *,
    query_offsets: Sequence[int],
    key_offsets: Sequence[int],
    scale: float | None = None,
    bias: Tensor | None = None,
    implementation: Implementation = "auto",
) -> FrameMass:
    """Measure how much of its attention each frame of a video gives to every frame.

    With S = scale * Q K^T + bias[frame(i), group(j)] and P = softmax(S) the mass is
    `mass[f, g] = mean over tokens i of frame f of sum over tokens j of group g of P[i, j]`.
    It is a probability: every row sums to 1, and a frame that ignores the picture gives each of G equal
    groups 1 / G. Nothing is left out and nothing is sampled; peak memory grows with the number of tokens, not
    with its square (`implementation="reference"` is the exception: it builds the whole map).

    Parameters
    ----------
    query, key, value
        (batch, tokens, heads, head size). Without `value` no output is computed.
    query_offsets, key_offsets
        Cumulative token counts of the F query frames and the G key groups: F + 1 and G + 1 numbers from 0.
        Groups may differ in size.
    scale
        Default 1 / sqrt(head size).
    bias
        Frame relation (F, G), or with heads, or with batch and heads before it: natural-log units, 0 visible,
        -inf hidden; or bool, True visible.
    implementation
        `auto` lets `select` decide by shape; `reference`, `chunked`, `split`.

    Returns
    -------
    FrameMass
        `output` like `query` or None, `lse` (batch, heads, tokens), `mass` (batch, heads, F, G); the last two
        in float32, in float64 for float64 input. `chunked` and `reference` are differentiable.

    Raises
    ------
    RelationError
        If the offsets do not cover the tokens, or the relation has the wrong shape or hides everything.
    ValueError
        If shapes do not belong together, or the implementation cannot do what is asked.

    Source: CineTrans (arXiv 2508.11484), the frame-averaged attention map, computed here without the map.

    >>> import torch
    >>> one = torch.zeros(1, 4, 1, 8)
    >>> frame_mass(one, one, query_offsets=(0, 2, 4), key_offsets=(0, 1, 4)).mass[0, 0].tolist()
    [[0.25, 0.75], [0.25, 0.75]]
    """
    rows, groups, relation = check_inputs(query, key, value, query_offsets, key_offsets, bias)
    scale = default_scale(query.shape[-1]) if scale is None else scale
    tensors = (query, key) if value is None else (query, key, value)
    choice = select(
        device=query.device,
        num_tokens=key.shape[1],
        num_groups=len(groups) - 1,
        with_output=value is not None,
        needs_gradient=is_grad_enabled() and any(tensor.requires_grad for tensor in tensors),
        implementation=implementation,
    )
    if choice.name == "reference":
        return _reference(query, key, value, rows, groups, scale, relation)
    if choice.name == "split" and value is not None:
        found = split(
            query, key, value, query_offsets=rows, key_offsets=groups, scale=scale, relation=relation
        )
    else:
        found = chunked(
            query, key, value, query_offsets=rows, key_offsets=groups, scale=scale, relation=relation
        )
    return FrameMass(found.output, found.lse, found.mass)


def token_mass(
    query: Tensor,
    key: Tensor,
    *,
    query_offsets: Sequence[int],
    key_offsets: Sequence[int],
    scale: float | None = None,
    bias: Tensor | None = None,
) -> TokenMass:
    """Measure, for every single token (a small square of the picture), how much it looks at each frame.

    The frame mass before the average over query tokens: `mass` is (batch, heads, tokens, G), rows sum to 1.
    Arguments and errors as for `frame_mass`; `output` is None.

    >>> import torch
    >>> one = torch.zeros(1, 4, 1, 8)
    >>> token_mass(one, one, query_offsets=(0, 4), key_offsets=(0, 1, 4)).mass[0, 0, 3].tolist()
    [0.25, 0.75]
    """
    rows, groups, relation = check_inputs(query, key, None, query_offsets, key_offsets, bias)
    scale = default_scale(query.shape[-1]) if scale is None else scale
    return chunked(
        query,
        key,
        None,
        query_offsets=rows,
        key_offsets=groups,
        scale=scale,
        relation=relation,
        per_token=True,
    )


def _reference(
    query: Tensor,
    key: Tensor,
    value: Tensor | None,
    rows: tuple[int, ...],
    groups: tuple[int, ...],
    scale: float,
    relation: Tensor,
) -> FrameMass:
    scores = dense_scores(
        query, key, query_offsets=rows, key_offsets=groups, scale=scale, relation_BHFG=relation
    )
    pattern = scores.softmax(-1)
    mass = mean_over_rows(sum_over_groups(pattern, groups), rows)
    output = None
    if value is not None:
        output = einsum("bhnm,bmhd->bnhd", pattern, value.to(pattern.dtype)).to(query.dtype)
    return FrameMass(output, scores.logsumexp(-1), mass)
