"""The whole token x token score map: small inputs and tests only.

Legend: B batch, N query tokens, M key tokens, H heads, D head size, F query groups, G key groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ._groups import group_of_token


def dense_scores(
    query_BNHD: Tensor,
    key_BMHD: Tensor,
    *,
    query_offsets: Sequence[int],
    key_offsets: Sequence[int],
    scale: float,
    relation_BHFG: Tensor | None,
    content_FG: Tensor | None = None,
) -> Tensor:
    """Return the scores (B, H, N, M), in float64 for float64 input and float32 otherwise.

    They are s + relation, or s + content * max s + relation, with s = scale * Q K^T and the maximum over the keys
    that the row sees.
    """
    wide = torch.float64 if query_BNHD.dtype == torch.float64 else torch.float32
    scores_BHNM = torch.einsum("bnhd,bmhd->bhnm", query_BNHD.to(wide), key_BMHD.to(wide)) * scale
    if relation_BHFG is None:
        return scores_BHNM
    rows = group_of_token(query_offsets, scores_BHNM.device)
    columns = group_of_token(key_offsets, scores_BHNM.device)
    bias_BHNM = relation_BHFG.to(scores_BHNM)[:, :, rows][..., columns]
    if content_FG is None:
        return scores_BHNM + bias_BHNM
    largest_BHN1 = scores_BHNM.masked_fill(bias_BHNM == -torch.inf, -torch.inf).amax(-1, keepdim=True)
    return scores_BHNM + content_FG.to(scores_BHNM)[rows][:, columns] * largest_BHN1 + bias_BHNM
