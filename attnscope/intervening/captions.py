"""Shot captions as the denoiser reads them: one slab behind another, a single padding token for each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from attnscope.errors import MaskError, quote
from attnscope.families import find
from attnscope.families.protocols import EncodedText, Pipeline, ReadsCaptions, require
from attnscope.masks import Group, Sides

if TYPE_CHECKING:
    from torch import Tensor

Padding = Literal["visible", "hidden"]

TEXT_LENGTH = 512
"""Tokens to which diffusers' Wan pipeline pads a prompt unless told otherwise."""


@dataclass(frozen=True)
class ShotText:
    """What each shot is told, ready for a pipeline: pass ``prompt_embeds=text.embeds`` and ``text`` to ``intervene``.

    ``embeds`` is (1, tokens, width). ``slab_of_token`` says which slab and kind each token is; padding tokens of a
    prompt are all alike, so one stands for all, and ``bias_of_token`` holds the logarithm of how many it stands for.
    """

    captions: tuple[str, ...]
    general: str | None
    padding: Padding
    embeds: Tensor
    slab_of_token: tuple[Group, ...]
    bias_of_token: tuple[float, ...]

    @property
    def num_slabs(self) -> int:
        """One slab for each shot, and one more for a general caption."""
        return len(self.captions) + (self.general is not None)

    def sides(self, num_frames: int, *, stride: int, sigma: float) -> Sides:
        """Frames that look at the tokens of the text, token by token."""
        frames = tuple(Group("frame", index) for index in range(num_frames))
        return Sides(frames, self.slab_of_token, stride, sigma)


def encode_captions(
    pipe: Pipeline,
    captions: Sequence[str],
    *,
    general: str | None = None,
    padding: Padding = "visible",
    max_sequence_length: int = TEXT_LENGTH,
) -> ShotText:
    """Give each shot of a film its own caption, beside one that holds for all.

    Every caption is encoded by itself and becomes a slab of text; a rule (:func:`attnscope.masks.own_text`) says which
    frames read which slab. Models that pad prompts and look at the padding, as Wan, were trained on it:
    ``padding="visible"`` keeps it, with one token that counts as many times as there are padding tokens, which is the
    same attention. ``"hidden"`` leaves it out.

    Raises
    ------
    MaskError
        There is no caption, or the choice of padding does not exist.

    Examples
    --------
    >>> from attnscope import load
    >>> text = encode_captions(load("wan-mini"), ["wide shot", "close shot"], general="a red ball")
    >>> text.num_slabs, text.slab_of_token[-1]
    (3, Group(kind='padding', index=2))
    """
    given = tuple(captions)
    if isinstance(captions, str) or not given or any(not isinstance(caption, str) for caption in given):
        raise MaskError(
            expected="one caption for each shot",
            got=quote(captions),
            where="in encode_captions",
            remedy="give a list of texts",
        )
    if padding not in get_args(Padding):
        raise MaskError(
            expected="padding visible or hidden",
            got=quote(padding),
            where="in encode_captions",
            remedy="name one",
        )
    family = require(find(pipe), ReadsCaptions, pipe)
    slabs = [*given, *([] if general is None else [general])]
    encoded = [family.encode_text(pipe, caption, max_sequence_length) for caption in slabs]
    return lay_slabs(given, general, padding, encoded)


def lay_slabs(
    captions: tuple[str, ...], general: str | None, padding: Padding, encoded: Sequence[EncodedText]
) -> ShotText:
    """Lay captions that were encoded one by one behind one another: those of the shots, then the general one."""
    import torch

    parts: list[Tensor] = []
    groups: list[Group] = []
    biases: list[float] = []
    for slab, each in enumerate(encoded):
        parts.append(each.tokens)
        groups += [Group("text", slab)] * len(each.tokens)
        biases += [0.0] * len(each.tokens)
        if padding == "visible" and each.num_padding:
            parts.append(each.padding[None])
            groups.append(Group("padding", slab))
            biases.append(math.log(each.num_padding))
    return ShotText(captions, general, padding, torch.cat(parts)[None], tuple(groups), tuple(biases))
