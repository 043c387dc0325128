"""Who asks and who is asked: the groups of tokens on both sides of one attention call."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from attnscope.errors import MaskError, quote

Kind = Literal["frame", "text", "padding", "transition"]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Group:
    """Tokens that a rule treats alike: a latent frame, a text slab, the padding of a slab, a transition token.

    ``index`` counts from 0 within the kind: the latent frame; the slab of the text and of its padding; the
    boundary that a transition token stands for.
    """

    kind: Kind
    index: int


@dataclass(frozen=True)
class Sides:
    """Both sides of one attention call: the groups that look, the groups that are looked at, and when.

    ``stride`` says how many video frames a latent frame holds, so that shots that are planned on video frames find
    their latent frames. ``sigma`` is the noise level of the step, nan where nobody knows it. ``largest`` holds the
    largest score of each query group, for the rules that scale with it.

    Raises
    ------
    MaskError
        There is no group on a side, or the kind of a group is unknown.

    Examples
    --------
    >>> Sides.of_frames(21).shape
    (21, 21)
    >>> sides = Sides.of_text(2, num_slabs=3)
    >>> sides.shape, sides.keys[:2]
    ((2, 6), (Group(kind='text', index=0), Group(kind='padding', index=0)))
    """

    queries: tuple[Group, ...]
    keys: tuple[Group, ...]
    stride: int = 4
    sigma: float = math.nan
    largest: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for group in (*self.queries, *self.keys):
            if group.kind not in get_args(Kind) or group.index < 0:
                raise MaskError(
                    expected=f"groups of kind {', '.join(get_args(Kind))}, counted from 0",
                    got=quote(group),
                    where="among the sides of an attention call",
                    remedy="correct the group",
                )
        if not self.queries or not self.keys:
            raise MaskError(
                expected="groups on both sides",
                got=f"{len(self.queries)} that look and {len(self.keys)} that are looked at",
                where="in an attention call",
                remedy="name at least one frame",
            )

    @classmethod
    def of_frames(cls, num_frames: int, *, stride: int = 4, sigma: float = math.nan) -> Sides:
        """Latent frames look at latent frames: self-attention of a video."""
        frames = tuple(Group("frame", index) for index in range(num_frames))
        return cls(frames, frames, stride, sigma)

    @classmethod
    def of_text(cls, num_frames: int, *, num_slabs: int, stride: int = 4, sigma: float = math.nan) -> Sides:
        """Latent frames look at text: cross-attention to slabs, each followed by its padding."""
        frames = tuple(Group("frame", index) for index in range(num_frames))
        slabs: Iterable[Group] = (
            Group(kind, slab) for slab in range(num_slabs) for kind in ("text", "padding")
        )
        return cls(frames, tuple(slabs), stride, sigma)

    @classmethod
    def joint(cls, groups: Iterable[Group], *, stride: int = 4, sigma: float = math.nan) -> Sides:
        """Text and video in one attention: everybody looks at everybody."""
        both = tuple(groups)
        return cls(both, both, stride, sigma)

    @property
    def shape(self) -> tuple[int, int]:
        """How many groups look, and how many are looked at."""
        return len(self.queries), len(self.keys)

    @property
    def num_frames(self) -> int:
        """How many latent frames look."""
        return sum(group.kind == "frame" for group in self.queries)

    def pairs(self, query_kinds: Iterable[Kind], key_kinds: Iterable[Kind]) -> NDArray[np.bool_]:
        """Say which pairs are of these kinds. Shape (query groups, key groups)."""
        asked, given = tuple(query_kinds), tuple(key_kinds)
        rows = np.array([group.kind in asked for group in self.queries])
        columns = np.array([group.kind in given for group in self.keys])
        return np.asarray(np.logical_and.outer(rows, columns))

    @property
    def query_index(self) -> Index:
        """The index of each group that looks, as a column (query groups, 1)."""
        return np.array([group.index for group in self.queries], dtype=np.int64)[:, None]

    @property
    def key_index(self) -> Index:
        """The index of each group that is looked at, as a row (1, key groups)."""
        return np.array([group.index for group in self.keys], dtype=np.int64)[None, :]
