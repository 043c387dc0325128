"""Shot captions as the denoiser reads them: one slab behind another, a single padding token for each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, get_args

from attnscope._types import Padding
from attnscope.errors import MaskError, quote
from attnscope.families import find
from attnscope.families.layout import FrameLayout
from attnscope.families.protocols import EncodedText, Pipeline, ReadsCaptions, require
from attnscope.masks import Group, Sides

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ShotText:
    """What each shot is told, ready for a pipeline: pass it ``**text.arguments``, and ``text`` to ``intervene``.

    ``embeds`` is (1, tokens, width). ``slab_of_token`` says which slab and kind each token is; where the padding tokens
    of a prompt are all alike, one stands for all, and ``bias_of_token`` holds the logarithm of how many it stands for;
    it is -inf for tokens that nobody reads. ``arguments`` are the embeddings under the pipeline's names, with masks and
    the negative prompt where it wants them; the negative prompt then has ``num_negative`` tokens, else None.
    """

    captions: tuple[str, ...]
    general: str | None
    padding: Padding
    embeds: Tensor
    slab_of_token: tuple[Group, ...]
    bias_of_token: tuple[float, ...]
    arguments: Mapping[str, Tensor] = field(default_factory=dict)
    num_negative: int | None = None

    @property
    def num_slabs(self) -> int:
        """One slab for each shot, and one more for a general caption."""
        return len(self.captions) + (self.general is not None)

    def sides(self, num_frames: int, *, stride: int, sigma: float) -> Sides:
        """Frames that look at the tokens of the text, token by token."""
        frames = tuple(Group("frame", index) for index in range(num_frames))
        return Sides(frames, self.slab_of_token, stride, sigma)

    def divide(self, branch: str, layout: FrameLayout) -> FrameLayout:
        """Tell the captions apart in an attention that text and video share; a negative prompt alone stays whole."""
        num_tokens = sum(layout.segments[place].num_tokens for place in layout.text_segments)
        if branch == "uncond" and num_tokens == self.num_negative:
            return layout
        read = zip(self.slab_of_token, self.bias_of_token, strict=True)
        return layout.divide_text(
            list(Counter(group.index for group, bias in read if bias > -math.inf).values())
        )


def encode_captions(
    pipe: Pipeline,
    captions: Sequence[str],
    *,
    general: str | None = None,
    padding: Padding = "visible",
    negative: str | None = None,
    max_sequence_length: int | None = None,
) -> ShotText:
    """Give each shot of a film its own caption, beside one that holds for all.

    Every caption is encoded by itself and becomes a slab of text; a rule (:func:`attnscope.masks.own_text`) says which
    frames read which slab. Models that pad prompts and look at the padding, as Wan, were trained on it:
    ``padding="visible"`` keeps it, with one token that counts as many times as there are padding tokens, which is the
    same attention. ``"hidden"`` leaves it out. Models that hide padding by themselves hide it either way.

    ``negative`` is the negative prompt, for models that read it in the same call as the captions (all but Wan and
    SkyReels-V2, whose pipelines are told it as always); None is the empty one. ``max_sequence_length`` is how many
    tokens a caption may have, by default what the pipeline allows a prompt.

    Raises
    ------
    MaskError
        There is no caption, the choice of padding does not exist, or padding shall be hidden that the model reads as
        text.
    UnsupportedModelError
        The family cannot be told captions of shots.
    InputError
        The model reads a fixed number of tokens, and the captions have more.

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
    if padding == "hidden" and family.padding == "text":
        raise MaskError(
            expected=f"padding that a {type(pipe).__name__} can tell from text, to hide it",
            got="padding that it reads like words",
            where="in encode_captions",
            remedy='leave it visible, padding="visible"',
        )
    slabs = [*given, *([] if general is None else [general])]
    encoded = [family.encode_text(pipe, caption, max_sequence_length) for caption in slabs]
    text = lay_slabs(given, general, padding, encoded)
    unwanted = family.encode_negative(pipe, negative or "", slabs, max_sequence_length)
    told = family.tell_captions(pipe, text.embeds[0], unwanted)
    spare = told["prompt_embeds"].shape[1] - len(text.slab_of_token)
    return replace(
        text,
        embeds=told["prompt_embeds"],
        slab_of_token=(*text.slab_of_token, *[Group("padding", len(slabs) - 1)] * spare),
        bias_of_token=(*text.bias_of_token, *[-math.inf] * spare),
        arguments=told,
        num_negative=None if unwanted is None else len(unwanted),
    )


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
