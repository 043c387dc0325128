"""Attention in which chosen frames do not see, or see less of, chosen other frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, overload

from torch import Tensor, is_grad_enabled

from .._chunked import attend_in_chunks
from .._groups import dense_heads
from .._relation import Grouping, check_content, check_inputs, require_scale
from .._select import AttendImplementation, select_attention
from .launch import attend_by_kernel
from .reference import attend_densely
from .short import attend_at_once
from .split import attend_by_runs


@overload
def shot_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    relation: Tensor,
    *,
    query_offsets: Sequence[int],
    key_offsets: Sequence[int],
    scale: float | None = None,
    content: Tensor | None = None,
    with_lse: Literal[False] = False,
    implementation: AttendImplementation = "auto",
) -> Tensor: ...


@overload
def shot_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    relation: Tensor,
    *,
    query_offsets: Sequence[int],
    key_offsets: Sequence[int],
    scale: float | None = None,
    content: Tensor | None = None,
    with_lse: Literal[True],
    implementation: AttendImplementation = "auto",
) -> tuple[Tensor, Tensor]: ...


def shot_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    relation: Tensor,
    *,
    query_offsets: Sequence[int],
    key_offsets: Sequence[int],
    scale: float | None = None,
    content: Tensor | None = None,
    with_lse: bool = False,
    implementation: AttendImplementation = "auto",
) -> Tensor | tuple[Tensor, Tensor]:
    """Attend with a rule on top: which frame may look at which, and how strongly.

    `softmax(scale * Q K^T + relation[frame(i), group(j)]) V`. A hidden pair (-inf) has weight exactly 0 and costs
    nothing; a soft pair (-a) is weighted down by exp(-a); log m counts a frame m times. No token x token tensor is
    built, and gradients of query, key and value are those of the dense formula (`implementation="reference"` is
    that formula).

    Parameters
    ----------
    query, key, value
        (batch, tokens, heads, head size).
    relation
        Frame relation (F, G), or with heads, or with batch and heads before it: natural-log units, or bool
        (True visible). It receives no gradient.
    query_offsets, key_offsets
        Cumulative token counts of the F query frames and the G key groups: frames, then text, say.
    scale
        Default 1 / sqrt(head size).
    content
        A relation (F, G) in units of the row's own largest score: `content[f, g] * max_j scale q_i k_j` over the
        visible keys is added (VSTAR). Only `reference` and `chunked` know it.
    with_lse
        Return the logarithm of every row's normaliser, too: (batch, heads, tokens), without gradient.
    implementation
        `auto` lets `select_attention` decide; `reference`, `short`, `split`, `chunked`, `kernel`.

    Raises
    ------
    RelationError
        If the offsets do not cover the tokens, or the relation has the wrong shape or hides everything from a frame.
    ValueError
        If shapes do not belong together, or the implementation does not exist or cannot do what is asked.

    Source: CineTrans (arXiv 2508.11484), the block-diagonal mask; slicing keys instead of masking is ours.

    Examples
    --------
    >>> import torch
    >>> query, key = torch.zeros(1, 2, 1, 4), torch.zeros(1, 2, 1, 4)
    >>> value = torch.tensor([1.0, 3.0]).view(1, 2, 1, 1).expand(1, 2, 1, 4)
    >>> alone = torch.eye(2, dtype=torch.bool)
    >>> out = shot_attention(query, key, value, alone, query_offsets=(0, 1, 2), key_offsets=(0, 1, 2))
    >>> out[0, :, 0, 0].tolist()
    [1.0, 3.0]
    """
    rows, groups, checked = check_inputs(query, key, value, query_offsets, key_offsets, relation)
    query, key, value = dense_heads(query), dense_heads(key), dense_heads(value)
    content = None if content is None else check_content(content, len(rows) - 1, len(groups) - 1)
    choice = select_attention(
        device=query.device,
        dtype=query.dtype,
        head_size=query.shape[-1],
        num_tokens=max(query.shape[1], key.shape[1]),
        relation=checked,
        has_content=content is not None,
        with_lse=with_lse,
        needs_gradient=is_grad_enabled() and any(tensor.requires_grad for tensor in (query, key, value)),
        implementation=implementation,
    )
    grouping = Grouping(
        query_offsets=rows,
        key_offsets=groups,
        scale=require_scale(scale, query.shape[-1]),
        relation=checked,
    )
    output, lse = _run(choice.name, (query, key, value), grouping, content, with_lse)
    return (output, lse) if lse is not None and with_lse else output


def _run(
    name: str,
    tensors: tuple[Tensor, Tensor, Tensor],
    grouping: Grouping,
    content: Tensor | None,
    with_lse: bool,
) -> tuple[Tensor, Tensor | None]:
    if name == "kernel":
        return attend_by_kernel(*tensors, **grouping)
    if name == "short":
        return attend_at_once(*tensors, **grouping)
    if name == "split":
        return attend_by_runs(*tensors, **grouping, with_lse=with_lse)
    if name == "reference":
        return attend_densely(*tensors, **grouping, content=content)
    found = attend_in_chunks(*tensors, **grouping, content=content)
    assert found.output is not None
    return found.output, found.lse
