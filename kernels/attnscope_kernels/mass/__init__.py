"""How much attention each query frame gives to each key frame, exact, without a token x token map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor, is_grad_enabled, unflatten

from .._chunked import TokenMass, attend_in_chunks
from .._groups import dense_heads
from .._relation import Grouping, check_inputs, check_places, is_whole, require_scale
from .._select import MassImplementation, select_mass
from .launch import measure_after, measure_fused, measure_tokens
from .reference import measure_densely
from .split import measure_by_groups


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
    relation: Tensor | None = None,
    num_places: int = 1,
    implementation: MassImplementation = "auto",
) -> FrameMass:
    """Measure how much of its attention each frame of a video gives to every frame.

    With S = scale * Q K^T + relation[frame(i), group(j)] and P = softmax(S) the mass is
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
    relation
        Frame relation (F, G), or with heads, or with batch and heads before it: natural-log units, 0 visible,
        -inf hidden; or bool, True visible.
    num_places
        How many neighbouring batch entries are places of one video, over which the mass is averaged. A UNet attends
        over time at every place of the picture by itself: batch is videos x places, a sequence is the frames.
    implementation
        `auto` lets `select_mass` decide by shape; `reference`, `chunked`, `split`, `kernel` (Triton, fused with
        attention), `second_pass` (PyTorch's fused attention, then a Triton kernel that reads its log-sum-exp).

    Returns
    -------
    FrameMass
        `output` like `query` or None, `lse` (batch, heads, tokens), `mass` (batch / num_places, heads, F, G); the
        last two in float32, in float64 for float64 input. `chunked` and `reference` are differentiable.

    Raises
    ------
    RelationError
        If the offsets do not cover the tokens, or the relation has the wrong shape or hides everything.
    ValueError
        If shapes do not belong together, or the implementation cannot do what is asked.

    Source: CineTrans (arXiv 2508.11484), the frame-averaged attention map, computed here without the map.

    Examples
    --------
    >>> import torch
    >>> one = torch.zeros(1, 4, 1, 8)
    >>> frame_mass(one, one, query_offsets=(0, 2, 4), key_offsets=(0, 1, 4)).mass[0, 0].tolist()
    [[0.25, 0.75], [0.25, 0.75]]
    """
    rows, groups, checked = check_inputs(query, key, value, query_offsets, key_offsets, relation)
    check_places(query.shape[0], num_places)
    query, key = dense_heads(query), dense_heads(key)
    value = None if value is None else dense_heads(value)
    tensors = (query, key) if value is None else (query, key, value)
    choice = select_mass(
        device=query.device,
        dtype=query.dtype,
        head_size=query.shape[-1],
        num_tokens=key.shape[1],
        num_groups=len(groups) - 1,
        with_output=value is not None,
        needs_gradient=is_grad_enabled() and any(tensor.requires_grad for tensor in tensors),
        is_plain=is_whole(checked),
        implementation=implementation,
    )
    grouping = Grouping(
        query_offsets=rows,
        key_offsets=groups,
        scale=require_scale(scale, query.shape[-1]),
        relation=checked,
    )
    if choice.name == "chunked":
        return FrameMass(*attend_in_chunks(query, key, value, **grouping, num_places=num_places))
    found = _WAYS[choice.name](query, key, value, **grouping)
    mass = found.mass if num_places == 1 else unflatten(found.mass, 0, (-1, num_places)).mean(1)
    return FrameMass(found.output, found.lse, mass)


def token_mass(
    query: Tensor,
    key: Tensor,
    *,
    query_offsets: Sequence[int],
    key_offsets: Sequence[int],
    scale: float | None = None,
    relation: Tensor | None = None,
    implementation: MassImplementation = "auto",
) -> TokenMass:
    """Measure, for every single token (a small square of the picture), how much it looks at each frame.

    The frame mass before the average over query tokens: `mass` is (batch, heads, tokens, G), rows sum to 1.
    Arguments and errors as for `frame_mass`, of whose implementations `chunked` and `kernel` do this; `output` is None.

    >>> import torch
    >>> one = torch.zeros(1, 4, 1, 8)
    >>> token_mass(one, one, query_offsets=(0, 4), key_offsets=(0, 1, 4)).mass[0, 0, 3].tolist()
    [0.25, 0.75]
    """
    rows, groups, checked = check_inputs(query, key, None, query_offsets, key_offsets, relation)
    query, key = dense_heads(query), dense_heads(key)
    if implementation not in ("auto", "chunked", "kernel"):
        raise ValueError(
            f"expected an implementation out of auto, chunked, kernel, got {implementation!r}, in token_mass; "
            f"use 'auto' to let the shapes decide"
        )
    choice = select_mass(
        device=query.device,
        dtype=query.dtype,
        head_size=query.shape[-1],
        num_tokens=key.shape[1],
        num_groups=len(groups) - 1,
        with_output=False,
        needs_gradient=is_grad_enabled() and (query.requires_grad or key.requires_grad),
        is_plain=is_whole(checked),
        implementation=implementation,
    )
    grouping = Grouping(
        query_offsets=rows,
        key_offsets=groups,
        scale=require_scale(scale, query.shape[-1]),
        relation=checked,
    )
    if choice.name == "kernel":
        return measure_tokens(query, key, **grouping)
    return attend_in_chunks(query, key, None, **grouping, per_token=True)


_WAYS: dict[str, Callable[..., TokenMass]] = {
    "reference": measure_densely,
    "split": measure_by_groups,
    "kernel": measure_fused,
    "second_pass": measure_after,
}
