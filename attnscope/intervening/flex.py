"""A rule for FlexAttention: PyTorch's own block-sparse kernels, for people who train or serve without attnscope."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from attnscope.masks import MaskRule, Sides, block_mask, compile_rule
from attnscope.masks.compiling import count_tokens

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.nn.attention.flex_attention import BlockMask


class FlexMask(NamedTuple):
    """What ``flex_attention`` takes: ``flex_attention(query, key, value, **mask._asdict())``.

    ``score_mod`` is None where the rule shows or hides and weighs nothing.
    """

    block_mask: BlockMask
    score_mod: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor] | None


def flex_mask(
    rule: MaskRule,
    sides: Sides,
    query_tokens: int | Sequence[int],
    key_tokens: int | Sequence[int] | None = None,
    *,
    block_size: int = 128,
    device: torch.device | str = "cpu",
) -> FlexMask:
    """Write a rule down for ``torch.nn.attention.flex_attention``, exactly: bounds inside of blocks and weights too.

    Blocks are found from the frames; a token x token map is never built, as ``create_block_mask`` does.

    Parameters
    ----------
    rule
        Who may look at whom.
    sides
        The groups of the attention call, in the order of their tokens.
    query_tokens, key_tokens
        Tokens of each group, one number for all or one a group; keys as queries by default.
    block_size
        Tokens of a block; FlexAttention's own is 128.
    device
        Where attention runs.

    Raises
    ------
    MaskError
        Numbers of tokens that do not fit the groups; a rule that fits no such call.

    Examples
    --------
    >>> from attnscope import ShotPlan
    >>> from attnscope.masks import same_shot
    >>> plan = ShotPlan.from_latent_frames([1], num_frames_latent=3, fps=16)
    >>> mask = flex_mask(same_shot(plan), Sides.of_frames(3), 128)
    >>> mask.block_mask.to_dense().int().tolist(), mask.score_mod
    ([[[[1, 0, 0], [0, 1, 1], [0, 1, 1]]]], None)
    """
    import torch
    from torch.nn.attention.flex_attention import BlockMask

    blocks = block_mask(rule, sides, query_tokens, key_tokens, block_size=block_size)
    relation = compile_rule(rule, sides)
    given = query_tokens, query_tokens if key_tokens is None else key_tokens
    sizes = [count_tokens(tokens, count) for tokens, count in zip(given, sides.shape, strict=True)]
    query_group, key_group = (
        torch.from_numpy(np.repeat(np.arange(len(each)), each)).to(device) for each in sizes
    )
    seen = torch.from_numpy(~np.isneginf(relation)).to(device)

    def mask_mod(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return seen[query_group[query], key_group[key]]

    number = torch.from_numpy(np.where(np.isneginf(relation), 0.0, relation)).float().to(device)

    def score_mod(score: Tensor, _batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return score + number[query_group[query], key_group[key]]

    # as create_block_mask has it: the last block is asked pair by pair where tokens do not fill it
    filled = [
        (np.arange(count) + 1) * block_size <= each.sum()
        for count, each in zip(blocks.partial.shape, sizes, strict=True)
    ]
    whole = blocks.visible[0] & ~blocks.partial & np.logical_and.outer(*filled)
    sparse = BlockMask.from_kv_blocks(
        *_list_blocks(blocks.visible[0] & ~whole, device),
        *_list_blocks(whole, device),
        BLOCK_SIZE=block_size,
        mask_mod=mask_mod,
        seq_lengths=(len(query_group), len(key_group)),
    )
    return FlexMask(sparse, score_mod if blocks.weighted.any() else None)


def _list_blocks(blocks: np.ndarray, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """How many blocks each row has, and which, those first: `(1, 1, rows)` and `(1, 1, rows, columns)`."""
    import torch

    order = np.argsort(~blocks, axis=1, kind="stable").astype(np.int32)
    count = blocks.sum(axis=1).astype(np.int32)
    return torch.from_numpy(count)[None, None].to(device), torch.from_numpy(order)[None, None].to(device)
