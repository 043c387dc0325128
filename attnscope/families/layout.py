"""Which token of one attention call belongs to which latent frame, which to text, which to padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from attnscope.errors import LayoutError, quote

TEXT_TOKEN = -1
PADDING_TOKEN = -2

_KINDS = ("frame", "text", "padding")


@dataclass(frozen=True)
class Segment:
    """A run of neighbouring tokens that belong together: one latent frame, one text slab, or padding.

    ``index`` counts from 0 within its kind: the latent frame, or the text slab. ``num_tokens`` is at least 1.

    >>> Segment("frame", index=0, num_tokens=1560).num_tokens
    1560
    """

    kind: Literal["frame", "text", "padding"]
    index: int
    num_tokens: int

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise LayoutError(
                expected=f"a segment kind among {', '.join(_KINDS)}",
                got=quote(self.kind),
                where=f"for segment {self.index}",
                remedy="use one of them",
            )
        if self.index < 0 or self.num_tokens < 1:
            raise LayoutError(
                expected="an index >= 0 and at least 1 token",
                got=f"index {self.index} and {self.num_tokens} tokens",
                where=f"in a {self.kind} segment",
                remedy="leave empty segments out",
            )


@dataclass(frozen=True)
class FrameLayout:
    """The order in which frames and text stand in one attention call, so that tokens can be summed to frames.

    A tuple of segments in token order. Frames appear in rising order, each exactly once, starting with frame
    0; text slabs likewise. Tokens within a frame are not distinguished.

    Raises
    ------
    LayoutError
        There is no frame, or frames or text slabs are missing, repeated or out of order.

    Examples
    --------
    Wan at 480p keeps text in another attention; CogVideoX puts 226 text tokens first:

    >>> layout = FrameLayout.uniform(3, 4, text_before=2)
    >>> layout.num_frames, layout.num_tokens
    (3, 14)
    >>> layout.offsets
    (0, 2, 6, 10, 14)
    >>> layout.token_frame().tolist()
    [-1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
    """

    segments: tuple[Segment, ...]

    def __post_init__(self) -> None:
        frames = [segment.index for segment in self.segments if segment.kind == "frame"]
        if not frames:
            raise LayoutError(
                expected="at least one frame segment",
                got=f"{len(self.segments)} segments without a frame",
                where="in this layout",
                remedy="add the frames",
            )
        _require_counting(frames, "frame")
        _require_counting([segment.index for segment in self.segments if segment.kind == "text"], "text")

    @classmethod
    def uniform(
        cls,
        num_frames: int,
        tokens_per_frame: int,
        *,
        text_before: int = 0,
        text_after: int = 0,
        padding_after: int = 0,
    ) -> FrameLayout:
        """Lay out frames of equal size, with text in front of them, behind them, or not at all, and padding at the end.

        >>> [segment.kind for segment in FrameLayout.uniform(2, 5, text_after=3).segments]
        ['frame', 'frame', 'text']
        """
        if min(num_frames, tokens_per_frame) < 1 or min(text_before, text_after, padding_after) < 0:
            raise LayoutError(
                expected="at least 1 frame of at least 1 token and no negative text",
                got=f"{num_frames} frames of {tokens_per_frame} tokens",
                where=f"with {text_before} and {text_after} text tokens",
                remedy="check the latent shape",
            )
        segments = [Segment("frame", index, tokens_per_frame) for index in range(num_frames)]
        if text_before:
            segments.insert(0, Segment("text", 0, text_before))
        if text_after:
            segments.append(Segment("text", int(text_before > 0), text_after))
        if padding_after:
            segments.append(Segment("padding", 0, padding_after))
        return cls(tuple(segments))

    def divide_text(self, sizes: Sequence[int]) -> FrameLayout:
        """Return the same layout with its one text divided into slabs of so many tokens.

        Raises
        ------
        LayoutError
            There is not one text, or it has another number of tokens.

        Examples
        --------
        >>> divided = FrameLayout.uniform(1, 4, text_before=5).divide_text([2, 3])
        >>> [(segment.kind, segment.index, segment.num_tokens) for segment in divided.segments]
        [('text', 0, 2), ('text', 1, 3), ('frame', 0, 4)]
        """
        found = [self.segments[position].num_tokens for position in self.text_segments]
        if found != [sum(sizes)]:
            raise LayoutError(
                expected=f"one text of {sum(sizes)} tokens, those of {len(sizes)} captions",
                got=f"{found or 'none'}",
                where="in the layout of an attention call",
                remedy="call the pipeline with the arguments of the captions",
            )
        (place,) = self.text_segments
        slabs = (Segment("text", slab, size) for slab, size in enumerate(sizes))
        return FrameLayout((*self.segments[:place], *slabs, *self.segments[place + 1 :]))

    @property
    def num_frames(self) -> int:
        """How many latent frames there are."""
        return len(self.frame_segments)

    @property
    def num_tokens(self) -> int:
        """How many tokens there are, text and padding included."""
        return sum(segment.num_tokens for segment in self.segments)

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where each segment starts, and where the last one stops: ``len(segments) + 1`` token positions."""
        positions = [0]
        for segment in self.segments:
            positions.append(positions[-1] + segment.num_tokens)
        return tuple(positions)

    @property
    def frame_segments(self) -> tuple[int, ...]:
        """Positions in ``segments`` of the frames, in frame order."""
        return self._positions("frame")

    @property
    def text_segments(self) -> tuple[int, ...]:
        """Positions in ``segments`` of the text slabs, in slab order."""
        return self._positions("text")

    def token_frame(self) -> NDArray[np.int64]:
        """Say for every token which latent frame it belongs to; -1 is text, -2 is padding.

        Shape (num_tokens,).
        """
        frame_of_segment = [
            segment.index
            if segment.kind == "frame"
            else TEXT_TOKEN
            if segment.kind == "text"
            else PADDING_TOKEN
            for segment in self.segments
        ]
        sizes = [stop - start for start, stop in pairwise(self.offsets)]
        return np.repeat(np.asarray(frame_of_segment, dtype=np.int64), sizes)

    def _positions(self, kind: str) -> tuple[int, ...]:
        return tuple(position for position, segment in enumerate(self.segments) if segment.kind == kind)


def _require_counting(indices: Sequence[int], kind: str) -> None:
    if list(indices) != list(range(len(indices))):
        raise LayoutError(
            expected=f"{kind} segments 0, 1, 2, ... in order and each once",
            got=quote(list(indices)),
            where="in this layout",
            remedy="one segment per index",
        )
