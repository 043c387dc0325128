"""What can be measured of one attention call: each thing computed at most once, and only when asked for.

Legend: B batch, H heads, N query tokens, M key tokens, D head size, F query frames, G key groups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from attnscope.errors import InputError, RunError, UnsupportedModelError
from attnscope.hooks.points import HookPoint
from attnscope.hooks.reweighting import ROW_TOLERANCE, bias_for_mass, check_written
from attnscope_kernels import (
    FrameMass,
    TokenMass,
    check_relation,
    dense_scores,
    frame_mass,
    group_of_token,
    mean_over_rows,
    select_mass,
    sum_over_groups,
    token_mass,
)

if TYPE_CHECKING:
    from attnscope.layout import FrameLayout

# A quarter of a gigabyte in float32: enough for any small model, and far below one map of a real one (12.9 G).
MAX_MAP_ELEMENTS = 1 << 26

# What models add to the scores of keys that shall not be seen; exp(-1000) is 0 in any precision.
_HIDDEN_BELOW = -1000.0

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


def relation_of_mask(mask: Tensor, rows: Sequence[int], groups: Sequence[int]) -> Tensor:
    """Say what a model's own mask hides, group by group: 0 and -inf, (batch or 1, 1, F, G) on the CPU.

    Where every group is a single token (attention over time at one place) it may also weigh, and differ between heads.

    Raises
    ------
    UnsupportedModelError
        If the mask is none of whole groups: it weighs keys, divides a frame, or differs between heads.

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


class Measures:
    """Scores, pattern, masses and log-sum-exp of one attention call, under the bias that was written to it.

    `mask` is what the model itself hides, as its processor passed it; `num_places` how many neighbouring entries of
    the batch are places of one video, over which the frame mass is averaged.
    """

    def __init__(
        self,
        query_BNHD: Tensor,
        key_BMHD: Tensor,
        scale: float | None,
        offsets: Callable[[], Offsets],
        *,
        mask: Tensor | None = None,
        num_places: int = 1,
    ) -> None:
        self._query, self._key = query_BNHD, key_BMHD
        self._scale = float(query_BNHD.shape[-1]) ** -0.5 if scale is None else scale
        self._find_offsets = offsets
        self._mask = mask
        self._num_places = num_places
        self._rule: Tensor | None = None
        self._scores: Tensor | None = None
        self._pattern: Tensor | None = None
        self.is_edited = False

    @cached_property
    def offsets(self) -> Offsets:
        """Cumulative token counts of the query frames and of the key groups."""
        return self._find_offsets()

    @property
    def is_ruled(self) -> bool:
        """Whether a frame relation that changes something is in force, besides what the model itself hides."""
        return self._rule is not None

    @cached_property
    def _hidden(self) -> tuple[Tensor, Tensor] | None:
        """What the model's own mask hides: its relation (B or 1, 1, F, G), and which rows look at nothing at all."""
        if self._mask is None:
            return None
        relation = relation_of_mask(self._mask, *self.offsets)
        blind = torch.isneginf(relation).all(-1, keepdim=True)
        return relation.masked_fill(blind, 0.0), blind

    @property
    def bias(self) -> Tensor | None:
        """The frame relation that is in force, the model's own included; None if there is none."""
        if self._hidden is None:
            return self._rule
        return self._hidden[0] if self._rule is None else self._hidden[0] + self._rule

    def no_bias(self) -> Tensor:
        """Return the relation in which everybody sees everybody: zeros (F, G)."""
        rows, groups = self.offsets
        return torch.zeros(len(rows) - 1, len(groups) - 1)

    def impose(self, relation: Tensor) -> None:
        """Put a frame relation in force; one of zeros changes nothing and is left out."""
        rows, groups = (len(offsets) - 1 for offsets in self.offsets)
        batch = self._query.shape[0]
        if relation.ndim == 4 and len(relation) * self._num_places == batch:
            relation = relation.repeat_interleave(self._num_places, 0)
        rule = check_relation(relation, batch, self._query.shape[2], rows, groups)
        self._rule = rule if bool(rule.any()) else None

    def edit(self, member: str, point: HookPoint) -> None:
        """Show `scores` or `pattern` (B, H, N, M) to whoever listens, and keep what they leave."""
        self._refuse_large(self._key.shape[1], point.name)
        shown = self._all_scores() if member == "scores" else self._whole_pattern()
        before = shown.detach().clone()
        left: Tensor = point(shown)
        if left is shown and torch.equal(shown, before):
            return
        self.is_edited = True
        if member == "scores":
            self._scores, self._pattern = left, None
        else:
            self._pattern = left

    def ask_for_mass(self, point: HookPoint) -> None:
        """Show the frame mass (B, H, F, G) to whoever listens; where they write another, attention follows it."""
        shown = self._frame_mass.mass
        before = shown.detach().clone()
        left = point(shown)
        if left is shown and torch.equal(shown.detach(), before):
            return
        self._refuse_large(len(self.offsets[1]) - 1, point.name)
        written = check_written(left, before, point.name)
        rule = self._rule
        self._forget_masses()
        bias = bias_for_mass(self._token_mass.mass, written, self.offsets[0])
        if self.is_edited or bias.requires_grad:
            self._tilt(bias, point.name)
        else:
            self.impose(bias.cpu() if rule is None else bias.cpu() + rule)
        self._forget_masses()
        missed = float((self._frame_mass.mass.detach() - written.detach()).abs().max())
        if missed > ROW_TOLERANCE:
            raise RunError(
                expected="attention that reaches every frame a little",
                got=f"some that rounds to nothing and misses the mass written by {missed:.1g}",
                where=f"at {point.name}",
                remedy="write one nearer to its own",
            )

    @property
    def is_weighed(self) -> bool:
        """Whether the model itself adds numbers to the scores, a bias by distance say, which it may have learned."""
        return self._mask is not None and does_weigh(self._mask)

    def attend(self, value_BMHD: Tensor) -> Tensor:
        """Return the output (B, N, H, D) under the rule and what the model itself adds, which gets its gradient."""
        assert self._mask is not None
        mask = self._mask if self._rule is None else self._mask + self._rule.to(self._mask)
        query, key, value = (each.transpose(1, 2) for each in (self._query, self._key, value_BMHD))
        output: Tensor = scaled_dot_product_attention(query, key, value, mask, scale=self._scale)
        return output.transpose(1, 2)

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
        if self.is_edited or "_token_mass" in self.__dict__:
            token = self._token_mass
            of_place = mean_over_rows(token.mass, rows)
            measured = FrameMass(
                None, token.lse, of_place.reshape(-1, self._num_places, *of_place.shape[1:]).mean(1)
            )
        else:
            measured = frame_mass(
                self._query,
                self._key,
                query_offsets=rows,
                key_offsets=groups,
                scale=self._scale,
                relation=self.bias,
                num_places=self._num_places,
            )
        if self._hidden is None or not bool(self._hidden[1].any()):
            return measured
        # Padding that looks at nothing gives nothing.
        return measured._replace(
            mass=measured.mass.masked_fill(self._hidden[1].to(measured.mass.device), 0.0)
        )

    @cached_property
    def _token_mass(self) -> TokenMass:
        rows, groups = self.offsets
        if self.is_edited:
            mass = sum_over_groups(self._whole_pattern(), groups)
            return TokenMass(None, self._all_scores().logsumexp(-1), mass)
        return token_mass(
            self._query,
            self._key,
            query_offsets=rows,
            key_offsets=groups,
            scale=self._scale,
            relation=self.bias,
        )

    def _tilt(self, bias_BHFG: Tensor, name: str) -> None:
        """Put a bias on the whole map: where it was edited, and where gradients shall pass through the bias."""
        self._refuse_large(self._key.shape[1], name)
        rows, groups = (group_of_token(offsets, bias_BHFG.device) for offsets in self.offsets)
        factor = bias_BHFG.exp()[:, :, rows][..., groups]
        weighed = self._whole_pattern() * factor
        scores = self._all_scores() + bias_BHFG.to(weighed)[:, :, rows][..., groups]
        self._scores, self._pattern = scores, (weighed / weighed.sum(-1, keepdim=True)).to(scores)
        self.is_edited = True

    def _forget_masses(self) -> None:
        for name in ("_frame_mass", "_token_mass"):
            self.__dict__.pop(name, None)

    def _all_scores(self) -> Tensor:
        if self._scores is None:
            rows, groups = self.offsets
            self._scores = dense_scores(
                self._query,
                self._key,
                query_offsets=rows,
                key_offsets=groups,
                scale=self._scale,
                relation_BHFG=self.bias,
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
                expected=f"a map of at most {MAX_MAP_ELEMENTS} elements",
                got=f"{batch} x {num_heads} x {num_tokens} x {num_columns}",
                where=f"at {name}",
                remedy="listen to hook_frame_mass instead, or use a smaller video",
            )
