"""Attention in which chosen frames do not see, or see less of, chosen other frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from .._relation import check_inputs, default_scale
from .reference import attend_densely
from .split import attend_by_runs

_IMPLEMENTATIONS = {"split": attend_by_runs, "reference": attend_densely}


def biased_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    query_offsets: Sequence[int],
    key_offsets: Sequence[int],
    bias: Tensor,
    scale: float | None = None,
    implementation: Literal["split", "reference"] = "split",
) -> Tensor:
    """Attend with a rule on top: which frame may look at which, and how strongly.

    `softmax(scale * Q K^T + bias[frame(i), group(j)]) V`. A hidden pair (-inf) has weight exactly 0 and costs
    nothing; a soft pair (-a) is weighted down by exp(-a). No token x token tensor is built, and gradients of
    query, key and value are those of the dense formula (`implementation="reference"` is that formula).

    Parameters
    ----------
    query, key, value
        (batch, tokens, heads, head size).
    query_offsets, key_offsets
        Cumulative token counts of the F query frames and the G key groups.
    bias
        Frame relation (F, G), or with heads, or with batch and heads before it: natural-log units, or bool
        (True visible). It receives no gradient.

    Raises
    ------
    RelationError
        If the offsets do not cover the tokens, or the relation has the wrong shape or hides everything.
    ValueError
        If shapes do not belong together, or the implementation does not exist.

    Source: CineTrans (arXiv 2508.11484), the block-diagonal mask; slicing keys instead of masking is ours.

    >>> import torch
    >>> query, key = torch.zeros(1, 2, 1, 4), torch.zeros(1, 2, 1, 4)
    >>> value = torch.tensor([1.0, 3.0]).view(1, 2, 1, 1).expand(1, 2, 1, 4)
    >>> alone = torch.eye(2, dtype=torch.bool)
    >>> out = biased_attention(query, key, value, query_offsets=(0, 1, 2), key_offsets=(0, 1, 2), bias=alone)
    >>> out[0, :, 0, 0].tolist()
    [1.0, 3.0]
    """
    rows, groups, relation = check_inputs(query, key, value, query_offsets, key_offsets, bias)
    scale = default_scale(query.shape[-1]) if scale is None else scale
    if implementation not in _IMPLEMENTATIONS:
        raise ValueError(
            f"expected an implementation out of {', '.join(_IMPLEMENTATIONS)}, got {implementation!r}, "
            f"in biased_attention; use 'split' unless the inputs are tiny"
        )
    attend = _IMPLEMENTATIONS[implementation]
    return attend(query, key, value, query_offsets=rows, key_offsets=groups, scale=scale, relation=relation)
