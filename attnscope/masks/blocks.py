"""A rule as blocks of tokens, for kernels that leave whole blocks out: where that is the rule, and where it is more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from attnscope._types import Bools
from attnscope.checks import require_whole
from attnscope.errors import MaskError
from attnscope.masks.compiling import compile_rule, count_tokens
from attnscope.masks.interventions import Intervention
from attnscope.masks.rules import MaskRule
from attnscope.masks.sides import Sides
from attnscope.ranges import parse_range


@dataclass(frozen=True, eq=False)
class BlockMask:
    """Which blocks of tokens a kernel must compute so that nothing is lost that a rule shows.

    ``visible`` (heads, query blocks, key blocks) is what block-sparse kernels take: True where the rule shows any pair
    of the block to this head. ``partial`` (query blocks, key blocks) marks blocks that the rule shows in part, as a
    shot ends inside; ``weighted`` those in which it weighs pairs, which no block mask can say. Both speak of the heads
    under the rule.
    """

    visible: Bools
    partial: Bools
    weighted: Bools
    block_size: int
    visible_pairs: int
    shown_pairs: int

    @property
    def exact(self) -> bool:
        """Whether the blocks say all that the rule says."""
        return not (self.partial.any() or self.weighted.any())

    @cached_property
    def density(self) -> float:
        """Share of blocks that are computed, over all heads."""
        return float(self.visible.mean())

    def describe(self) -> str:
        """Say how many blocks are left, and what they show beyond the rule."""
        count, rows, columns = self.visible.shape
        heads = "1 head" if count == 1 else f"{count} heads"
        said = f"{100 * self.density:.1f}% of {rows} x {columns} blocks of {self.block_size} in {heads}"
        if self.exact:
            return f"{said}; exact"
        extra = 100 * (self.shown_pairs - self.visible_pairs) / self.visible_pairs
        parts = [f"{int(self.partial.sum())} blocks hold both sides of a bound ({extra:.1f}% pairs too many)"]
        if self.weighted.any():
            parts.append(f"{int(self.weighted.sum())} hold weights, which are lost")
        return f"{said}; not exact: {', '.join(parts if self.partial.any() else parts[1:])}"


def block_mask(
    rule: MaskRule | Intervention,
    sides: Sides,
    query_tokens: int | Sequence[int],
    key_tokens: int | Sequence[int] | None = None,
    *,
    block_size: int = 64,
    num_heads: int = 1,
) -> BlockMask:
    """Write a rule down as blocks of tokens, the form that block-sparse attention kernels take.

    Parameters
    ----------
    rule
        A rule, or an intervention, whose heads then see by it and the others everything.
    sides
        The groups of the attention call.
    query_tokens, key_tokens
        Tokens of each group, one number for all or one a group; keys as queries by default.
    block_size
        Tokens of a block, 64 or 128 in most kernels. The last block may be shorter.
    num_heads
        Heads of the attention call.

    Raises
    ------
    MaskError
        Numbers of tokens that do not fit the groups; a rule that fits no such call.

    Examples
    --------
    >>> from attnscope import ShotPlan
    >>> from attnscope.masks import same_shot
    >>> plan = ShotPlan.from_latent_frames([11], num_frames_latent=21, fps=16)
    >>> block_mask(same_shot(plan), Sides.of_frames(21), 1560).describe()
    '50.3% of 512 x 512 blocks of 64 in 1 head; not exact: 1023 blocks hold both sides of a bound (0.4% pairs too many)'
    >>> block_mask(same_shot(plan), Sides.of_frames(21), 128, block_size=128).exact
    True
    """
    require_whole(
        block_size, "a block of at least 1 token", "in block_mask", least=1, most=2**20, error=MaskError
    )
    require_whole(num_heads, "at least 1 head", "in block_mask", least=1, most=2**16, error=MaskError)
    bare = rule.rule if isinstance(rule, Intervention) else rule
    relation = compile_rule(bare, sides)
    rows = count_tokens(query_tokens, sides.shape[0])
    columns = count_tokens(query_tokens if key_tokens is None else key_tokens, sides.shape[1])
    seen = ~np.isneginf(relation)
    query_blocks, key_blocks = (_blocks_of_groups(tokens, block_size) for tokens in (rows, columns))

    def any_pair(of_groups: Bools) -> Bools:
        return np.asarray(query_blocks @ of_groups @ key_blocks.T > 0)

    shown = any_pair(seen)
    under_rule = np.zeros(num_heads, dtype=bool)
    heads = rule.heads if isinstance(rule, Intervention) else "all"
    under_rule[list(parse_range(heads, range(num_heads), name="heads"))] = True
    sizes = [_sizes_of_blocks(sum(tokens), block_size) for tokens in (rows, columns)]
    return BlockMask(
        visible=np.where(under_rule[:, None, None], shown, True),
        partial=shown & any_pair(~seen),
        weighted=any_pair(seen & (relation != 0)),
        block_size=block_size,
        visible_pairs=int(rows @ seen @ columns),
        shown_pairs=int(sizes[0] @ shown @ sizes[1]),
    )


def _blocks_of_groups(tokens: NDArray[np.int64], block_size: int) -> NDArray[np.int64]:
    """1 where a block holds a token of a group: `(blocks, groups)`."""
    stops = np.cumsum(tokens)
    starts = stops - tokens
    begin = np.arange(-(-int(stops[-1]) // block_size))[:, None] * block_size
    return ((starts < begin + block_size) & (stops > begin)).astype(np.int64)


def _sizes_of_blocks(num_tokens: int, block_size: int) -> NDArray[np.int64]:
    """Tokens of each block; the last may be shorter."""
    return np.diff(np.append(np.arange(0, num_tokens, block_size), num_tokens))
