"""What can be measured of one attention call: each thing computed at most once, and only when asked for.

Legend: B batch, H heads, N query tokens, M key tokens, D head size, F query frames, G key groups.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from attnscope.errors import InputError
from attnscope.hooks.points import HookPoint
from attnscope_kernels import (
    FrameMass,
    TokenMass,
    check_relation,
    dense_scores,
    frame_mass,
    mean_over_rows,
    select_mass,
    sum_over_groups,
    token_mass,
)

if TYPE_CHECKING:
    from attnscope.layout import FrameLayout

# A quarter of a gigabyte in float32: enough for any small model, and far below one map of a real one (12.9 G).
MAX_MAP_ELEMENTS = 1 << 26

Offsets = tuple[tuple[int, ...], tuple[int, ...]]


def describe_way(layout: FrameLayout, *, head_size: int, device: torch.device, dtype: torch.dtype) -> str:
    """Say which implementation of the frame mass runs while one only looks at such a model, and why."""
    choice = select_mass(
        device=device,
        dtype=dtype,
        head_size=head_size,
        num_tokens=layout.num_tokens,
        num_groups=len(layout.offsets) - 1,
        with_output=False,
        needs_gradient=False,
    )
    return f"{choice.name}: {choice.reason}"


class Measures:
    """Scores, pattern, masses and log-sum-exp of one attention call, under the bias that was written to it."""

    def __init__(
        self, query_BNHD: Tensor, key_BMHD: Tensor, scale: float | None, offsets: Callable[[], Offsets]
    ) -> None:
        self._query, self._key = query_BNHD, key_BMHD
        self._scale = float(query_BNHD.shape[-1]) ** -0.5 if scale is None else scale
        self._find_offsets = offsets
        self._bias: Tensor | None = None
        self._scores: Tensor | None = None
        self._pattern: Tensor | None = None
        self._is_edited = False

    @cached_property
    def offsets(self) -> Offsets:
        """Cumulative token counts of the query frames and of the key groups."""
        return self._find_offsets()

    @property
    def bias(self) -> Tensor | None:
        """The frame relation that is in force, None if there is none."""
        return self._bias

    def no_bias(self) -> Tensor:
        """Return the relation in which everybody sees everybody: zeros (F, G)."""
        rows, groups = self.offsets
        return torch.zeros(len(rows) - 1, len(groups) - 1)

    def impose(self, relation: Tensor) -> None:
        """Put a frame relation in force; one of zeros changes nothing and is left out."""
        rows, groups = (len(offsets) - 1 for offsets in self.offsets)
        bias = check_relation(relation, self._query.shape[0], self._query.shape[2], rows, groups)
        self._bias = bias if bool(bias.any()) else None

    def edit(self, member: str, point: HookPoint) -> bool:
        """Show `scores` or `pattern` (B, H, N, M) to whoever listens; say whether they were changed."""
        self._refuse_large(self._key.shape[1], point.name)
        shown = self._all_scores() if member == "scores" else self._whole_pattern()
        before = shown.detach().clone()
        left: Tensor = point(shown)
        if left is shown and torch.equal(shown, before):
            return False
        self._is_edited = True
        if member == "scores":
            self._scores, self._pattern = left, None
        else:
            self._pattern = left
        return True

    def weigh(self, value_BMHD: Tensor) -> Tensor:
        """Return the output (B, N, H, D) that the edited pattern gives."""
        pattern = self._whole_pattern().to(value_BMHD.dtype)
        return torch.einsum("bhnm,bmhd->bnhd", pattern, value_BMHD)

    def measure(self, member: str, name: str) -> Tensor:
        """Return `frame_mass` (B, H, F, G), `token_frame` (B, H, N, G) or `lse` (B, H, N), in float32."""
        if member == "token_frame":
            self._refuse_large(len(self.offsets[1]) - 1, name)
            return self._token_mass.mass
        return self._frame_mass.mass if member == "frame_mass" else self._frame_mass.lse

    @cached_property
    def _frame_mass(self) -> FrameMass:
        rows, groups = self.offsets
        if self._is_edited or "_token_mass" in self.__dict__:
            token = self._token_mass
            return FrameMass(None, token.lse, mean_over_rows(token.mass, rows))
        return frame_mass(
            self._query,
            self._key,
            query_offsets=rows,
            key_offsets=groups,
            scale=self._scale,
            relation=self._bias,
        )

    @cached_property
    def _token_mass(self) -> TokenMass:
        rows, groups = self.offsets
        if self._is_edited:
            mass = sum_over_groups(self._whole_pattern(), groups)
            return TokenMass(None, self._all_scores().logsumexp(-1), mass)
        return token_mass(
            self._query,
            self._key,
            query_offsets=rows,
            key_offsets=groups,
            scale=self._scale,
            relation=self._bias,
        )

    def _all_scores(self) -> Tensor:
        if self._scores is None:
            rows, groups = self.offsets
            self._scores = dense_scores(
                self._query,
                self._key,
                query_offsets=rows,
                key_offsets=groups,
                scale=self._scale,
                relation_BHFG=self._bias,
            )
        return self._scores

    def _whole_pattern(self) -> Tensor:
        if self._pattern is None:
            self._pattern = self._all_scores().softmax(-1)
        return self._pattern

    def _refuse_large(self, num_columns: int, name: str) -> None:
        batch, num_tokens, num_heads, _ = self._query.shape
        if batch * num_heads * num_tokens * num_columns > MAX_MAP_ELEMENTS:
            raise InputError(
                f"expected a map of at most {MAX_MAP_ELEMENTS} elements, got {batch} x {num_heads} x {num_tokens} x "
                f"{num_columns}, at {name}; listen to hook_frame_mass instead, or use a smaller video"
            )
