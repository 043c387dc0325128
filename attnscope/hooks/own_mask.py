"""The mask that a model itself puts on an attention call, read as a relation between groups of tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from attnscope.errors import UnsupportedModelError

# What models add to the scores of keys that shall not be seen; exp(-1000) is 0 in any precision.
_HIDDEN_BELOW = -1000.0


def relation_of_mask(mask: Tensor, rows: Sequence[int], groups: Sequence[int]) -> Tensor:
    """Say what a model's own mask hides, group by group: 0 and -inf, (batch or 1, 1, F, G) on the CPU.

    Where every group is a single token (attention over time at one place) it may also weigh, and differ between heads.

    Raises
    ------
    UnsupportedModelError
        If the mask is none of whole groups: it weighs keys, divides a frame, or differs between heads.

    Examples
    --------
    >>> mask = torch.tensor([[[[True, True, True, False]]]])
    >>> relation_of_mask(mask, (0, 2, 4), (0, 2, 3, 4)).tolist()
    [[[[0.0, 0.0, -inf], [0.0, 0.0, -inf]]]]
    """
    visible = mask if mask.dtype == torch.bool else mask > _HIDDEN_BELOW
    weighed = does_weigh(mask)
    if weighed and all(offsets[-1] == len(offsets) - 1 for offsets in (rows, groups)):
        weights = mask.detach().double().masked_fill(~visible, -torch.inf).cpu()
        return weights.reshape((1,) * (4 - weights.ndim) + weights.shape)
    while visible.ndim < 4:
        visible = visible[None]
    if visible.shape[1] > 1 and bool((visible == visible[:, :1]).all()):
        visible = visible[:, :1]
    pairs = _per_group(_per_group(visible, groups, -1), rows if visible.shape[-2] > 1 else (0, 1), -2)
    if weighed or visible.shape[1] > 1 or pairs is None:
        raise UnsupportedModelError(
            expected="a mask of the model's own that hides whole frames, texts or padding",
            got=f"one of shape {tuple(mask.shape)} that divides them",
            where="in an attention call",
            remedy="listen to q, k, v, z and out only",
        )
    relation = torch.zeros(pairs.shape, dtype=torch.float64).masked_fill(~pairs.cpu(), -torch.inf)
    return relation.expand(-1, -1, len(rows) - 1, -1).clone()


def does_weigh(mask: Tensor) -> bool:
    """Whether a model's own mask does more than hide: it adds numbers to the scores of what is seen."""
    return mask.dtype != torch.bool and bool((mask[mask > _HIDDEN_BELOW] != 0).any())


def _per_group(visible: Tensor | None, offsets: Sequence[int], dim: int) -> Tensor | None:
    """One value a group where all its tokens have the same; None where they differ."""
    if visible is None:
        return None
    sizes = torch.tensor(offsets, device=visible.device).diff()
    first = visible.index_select(dim, torch.tensor(offsets[:-1], device=visible.device))
    return first if first.repeat_interleave(sizes, dim).equal(visible) else None
