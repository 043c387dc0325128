"""One attention call as a value: scores, pattern, masses and output, each computed at most once, when asked for.

Legend: B batch, H heads, N query tokens, M key tokens, D head size, F query frames, G key groups.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from attnscope.errors import InputError, RunError
from attnscope.hooks.own_mask import does_weigh, relation_of_mask
from attnscope.hooks.precision import full_precision
from attnscope.hooks.reweighting import ROW_TOLERANCE, bias_for_mass, check_written
from attnscope.hooks.seam import AttentionCall
from attnscope_kernels import (
    FrameMass,
    TokenMass,
    check_relation,
    dense_scores,
    frame_mass,
    group_of_token,
    mean_over_rows,
    select_mass,
    shot_attention,
    sum_over_groups,
    token_mass,
)

if TYPE_CHECKING:
    from attnscope.families.layout import FrameLayout

# A quarter of a gigabyte in float32: enough for any small model, and far below one map of a real one (12.9 G).
MAX_MAP_ELEMENTS = 1 << 26

Offsets = tuple[tuple[int, ...], tuple[int, ...]]
Way = Literal["as the model does", "by the pattern", "with the model's bias", "by frames"]


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


@dataclass(frozen=True, eq=False)
class Attention:
    """Attention of query to key, as the model computes it or as it was changed; a change makes another value.

    `call` is the model's own, `find_offsets` says how many tokens each query frame and key group has, `num_places` how
    many neighbouring entries of the batch are places of one video, over which the frame mass is averaged. `rule` is
    the frame relation that was written, (F, G) or with H or B and H before; `written` the scores and the pattern.
    """

    call: AttentionCall
    find_offsets: Callable[[], Offsets]
    num_places: int = 1
    rule: Tensor | None = None
    written: tuple[Tensor, Tensor] | None = None

    @cached_property
    def offsets(self) -> Offsets:
        """Cumulative token counts of the query frames and of the key groups."""
        return self.find_offsets()

    @property
    def scale(self) -> float:
        """What scores are multiplied with."""
        return float(self.call.query.shape[-1]) ** -0.5 if self.call.scale is None else self.call.scale

    @property
    def no_relation(self) -> Tensor:
        """The relation in which everybody sees everybody: zeros (F, G)."""
        rows, groups = self.offsets
        return torch.zeros(len(rows) - 1, len(groups) - 1, dtype=torch.float32, device="cpu")

    @property
    def relation(self) -> Tensor | None:
        """The frame relation that is in force, the model's own included; None if there is none."""
        if self._own_relation is None or self.rule is None:
            return self.rule if self._own_relation is None else self._own_relation[0]
        return self._own_relation[0] + self.rule

    @cached_property
    def scores(self) -> Tensor:
        """Scores under the relation (B, H, N, M), float32."""
        if self.written is not None:
            return self.written[0]
        rows, groups = self.offsets
        with full_precision(self.call.query.device):
            return dense_scores(
                self.call.query,
                self.call.key,
                query_offsets=rows,
                key_offsets=groups,
                scale=self.scale,
                relation_BHFG=self.relation,
            )

    @cached_property
    def pattern(self) -> Tensor:
        """What every token gives to every token (B, H, N, M), float32."""
        return self.scores.softmax(-1) if self.written is None else self.written[1]

    @cached_property
    def token_mass(self) -> TokenMass:
        """What every token gives to every group (B, H, N, G), and the log-sum-exp."""
        rows, groups = self.offsets
        if self.written is not None:
            return TokenMass(None, self.scores.logsumexp(-1), sum_over_groups(self.pattern, groups))
        with full_precision(self.call.query.device):
            return token_mass(
                self.call.query,
                self.call.key,
                query_offsets=rows,
                key_offsets=groups,
                scale=self.scale,
                relation=self.relation,
            )

    @cached_property
    def frame_mass(self) -> FrameMass:
        """What every frame gives to every group (videos, H, F, G), and the log-sum-exp."""
        measured = self._mass_of_frames()
        if self._own_relation is None or not bool(self._own_relation[1].any()):
            return measured
        # Padding that looks at nothing gives nothing.
        blind = self._own_relation[1].to(measured.mass.device)
        return measured._replace(mass=measured.mass.masked_fill(blind, 0.0))

    def output(self) -> Tensor:
        """Return what attention makes of the values, (B, N, H, D)."""
        if self.way == "as the model does":
            return self.call.run(self.call.query, self.call.key, self.call.value)
        device = self.call.query.device.type
        # Autocast would lower the model's own attention, and lowers what stands in its place.
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        query, key, value = (each.to(dtype) for each in (self.call.query, self.call.key, self.call.value))
        with full_precision(self.call.query.device):
            if self.way == "by the pattern":
                return torch.einsum("bhnm,bmhd->bnhd", self.pattern.to(value.dtype), value)
            if self.way == "with the model's bias":
                return self._with_own_bias(query, key, value)
            assert self.relation is not None
            rows, groups = self.offsets
            return shot_attention(
                query,
                key,
                value,
                self.relation,
                query_offsets=rows,
                key_offsets=groups,
                scale=self.call.scale,
            )

    @property
    def way(self) -> Way:
        """How the output is computed. A model that is only looked at computes it itself, bit for bit."""
        if self.written is not None:
            return "by the pattern"
        if self.rule is None:
            return "as the model does"
        # What a model adds to its scores it may have learned: that bias gets its gradient.
        weighs = self.call.mask is not None and does_weigh(self.call.mask)
        return "with the model's bias" if weighs else "by frames"

    def with_relation(self, relation: Tensor) -> Attention:
        """Return attention under a frame relation; one of zeros changes nothing and is left out."""
        rows, groups = (len(offsets) - 1 for offsets in self.offsets)
        batch, _, num_heads, _ = self.call.query.shape
        if relation.ndim == 4 and len(relation) * self.num_places == batch:
            relation = relation.repeat_interleave(self.num_places, 0)
        rule = check_relation(relation, batch, num_heads, rows, groups)
        return replace(self, rule=rule if bool(rule.any()) else None)

    def with_scores(self, scores: Tensor) -> Attention:
        """Return attention that has these scores."""
        return replace(self, written=(scores, scores.softmax(-1)))

    def with_pattern(self, pattern: Tensor) -> Attention:
        """Return attention that weighs with this pattern."""
        return replace(self, written=(self.scores, pattern))

    def with_frame_mass(self, mass: Tensor, where: str) -> Attention:
        """Return the attention nearest to this one that has this frame mass (videos, H, F, G)."""
        self.require_small(len(self.offsets[1]) - 1, where)
        check_written(mass, self.frame_mass.mass.detach(), where)
        bias = bias_for_mass(self.token_mass.mass, mass, self.offsets[0])
        if self.written is not None or bias.requires_grad:
            self.require_small(self.call.key.shape[1], where)
            changed = self._tilt(bias)
        else:
            changed = self.with_relation(bias.cpu() if self.rule is None else bias.cpu() + self.rule)
        missed = float((changed.frame_mass.mass.detach() - mass.detach()).abs().max())
        if missed > ROW_TOLERANCE:
            raise RunError(
                expected="attention that reaches every frame a little",
                got=f"some that rounds to nothing and misses the mass written by {missed:.1g}",
                where=f"at {where}",
                remedy="write one nearer to its own",
            )
        return changed

    def require_small(self, num_columns: int, where: str) -> None:
        """Refuse a map of every token on this many columns that would not fit."""
        batch, num_tokens, num_heads, _ = self.call.query.shape
        if batch * num_heads * num_tokens * num_columns > MAX_MAP_ELEMENTS:
            raise InputError(
                expected=f"a map of at most {MAX_MAP_ELEMENTS} elements",
                got=f"{batch} x {num_heads} x {num_tokens} x {num_columns}",
                where=f"at {where}",
                remedy="listen to hook_frame_mass instead, or use a smaller video",
            )

    @cached_property
    def _own_relation(self) -> tuple[Tensor, Tensor] | None:
        """What the model's own mask hides: its relation (B or 1, 1, F, G), and which rows look at nothing at all."""
        if self.call.mask is None:
            return None
        relation = relation_of_mask(self.call.mask, *self.offsets)
        blind = torch.isneginf(relation).all(-1, keepdim=True)
        return relation.masked_fill(blind, 0.0), blind

    def _mass_of_frames(self) -> FrameMass:
        rows, groups = self.offsets
        if self.written is not None:
            token = self.token_mass
            of_place = mean_over_rows(token.mass, rows)
            of_video = of_place.reshape(-1, self.num_places, *of_place.shape[1:]).mean(1)
            return FrameMass(None, token.lse, of_video)
        with full_precision(self.call.query.device):
            return frame_mass(
                self.call.query,
                self.call.key,
                query_offsets=rows,
                key_offsets=groups,
                scale=self.scale,
                relation=self.relation,
                num_places=self.num_places,
            )

    def _with_own_bias(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        assert self.call.mask is not None
        assert self.rule is not None
        mask = self.call.mask + self.rule.to(self.call.mask)
        query, key, value = (each.transpose(1, 2) for each in (query, key, value))
        output: Tensor = scaled_dot_product_attention(
            query, key, value, mask.to(query.dtype), scale=self.scale
        )
        return output.transpose(1, 2)

    def _tilt(self, bias_BHFG: Tensor) -> Attention:
        """Put a bias on the whole map: where it was written, and where gradients shall pass through the bias."""
        rows, groups = (group_of_token(offsets, bias_BHFG.device) for offsets in self.offsets)
        weighed = self.pattern * bias_BHFG.exp()[:, :, rows][..., groups]
        scores = self.scores + bias_BHFG.to(weighed)[:, :, rows][..., groups]
        return replace(self, written=(scores, (weighed / weighed.sum(-1, keepdim=True)).to(scores)))
