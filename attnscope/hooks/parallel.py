"""One video on several processes (diffusers' context parallelism): each attends with its own heads, over all tokens.

Under Ulysses every process holds a stretch of the tokens. For attention the processes exchange: each gives away its
tokens of the others' heads and gets all tokens of its own heads. A tap exchanges by itself, before its first hook point
and after its last, so that every point between shows all frames of the heads this process holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from attnscope.errors import UnsupportedModelError
from attnscope.hooks.seam import AttentionCall

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


@dataclass(frozen=True)
class Heads:
    """Which heads this process holds: part `rank` of `size` equal parts, the others in `group`."""

    rank: int
    size: int
    group: ProcessGroup
    device: torch.device

    def of(self, num_heads: int) -> slice:
        """Return the heads of this process, out of all."""
        share = num_heads // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def collect(self, own: Tensor) -> Tensor:
        """Put tensors (heads, ...) of all processes together, in the order of heads; every process gets all."""
        from torch import distributed

        pieces = [torch.empty_like(own) for _ in range(self.size)]
        distributed.all_gather(pieces, own.contiguous(), group=self.group)
        return torch.cat(pieces)

    def broadcast(self, flags: Sequence[bool] | None, count: int) -> list[bool] | None:
        """Tell the others what the first process says: `count` flags, or None if it has failed."""
        from torch import distributed

        sent = torch.tensor(
            [2] * count if flags is None else list(flags), dtype=torch.int32, device=self.device
        )
        distributed.broadcast(sent, distributed.get_global_rank(self.group, 0), group=self.group)
        return None if 2 in sent.tolist() else [bool(flag) for flag in sent.tolist()]


def heads_here(processor: object) -> Heads | None:
    """Say which heads the attention of this processor has in this process; None if it has them all.

    Raises
    ------
    UnsupportedModelError
        If keys stay where they are (ring attention) or heads are split unevenly.
    """
    config = getattr(processor, "_parallel_config", None)
    config = getattr(config, "context_parallel_config", None)
    if config is None:
        return None
    if config.ring_degree > 1 or config.ulysses_anything:
        way = "ulysses_anything" if config.ulysses_anything else f"ring_degree={config.ring_degree}"
        raise UnsupportedModelError(
            expected="context parallelism that deals out whole heads",
            got=f"{way}",
            where="in enable_parallelism",
            remedy="use ContextParallelConfig(ulysses_degree=...) with a divisor of the number of heads",
        )
    mesh = config._ulysses_mesh
    return Heads(mesh.get_local_rank(), config.ulysses_degree, mesh.get_group(), torch.device(config._device))


def over_heads(
    call: AttentionCall, heads: Heads, answer: Callable[[AttentionCall], Tensor], *, is_self: bool
) -> Tensor:
    """Let `answer` see the whole sequence and this process's heads; return the output for this process's tokens.

    Keys that every process holds in full (of a text) are not exchanged, only cut to the heads.

    Raises
    ------
    UnsupportedModelError
        If the heads cannot be dealt out evenly, or the model masks this attention.
    """
    dispatch = import_module("diffusers.models.attention_dispatch")
    swap = dispatch.SeqAllToAllDim.apply

    num_heads = call.query.shape[2]
    if num_heads % heads.size or call.mask is not None:
        reason = f"{num_heads} heads" if num_heads % heads.size else "a mask of the model's own"
        raise UnsupportedModelError(
            expected=f"unmasked attention whose heads {heads.size} processes can share",
            got=reason,
            where="under context parallelism",
            remedy="use another ulysses_degree, or one process",
        )

    def exchange(tensor: Tensor) -> Tensor:
        whole: Tensor = swap(heads.group, tensor, 2, 1)
        return whole

    own = exchange if is_self else (lambda tensor: tensor[:, :, heads.of(num_heads)])
    whole = replace(
        call, query=exchange(call.query), key=own(call.key), value=own(call.value), run=call.alone
    )
    output: Tensor = swap(heads.group, answer(whole), 1, 2)
    return output
