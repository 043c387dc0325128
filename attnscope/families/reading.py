"""Encoding text as a pipeline does it itself, so that each shot of a film can be given a caption of its own."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from typing_extensions import override

from attnscope.errors import InputError
from attnscope.families.base import Family
from attnscope.families.protocols import EncodedText, Model, Pipeline

# How many tokens of text stand behind those of an image, in models that look at both: written into their processors.
_BESIDE_AN_IMAGE = 512


class ReadingFamily(Family):
    """A family that can be told a caption for each shot: how its padding is read, and where the negative prompt is.

    ``padding`` says what the model makes of the tokens that fill a prompt up: it looks at all of them and they are
    zeros (`zeros`), a mask hides them (`hidden`), or they are read like any other (`text`). ``reads_negative_apart``
    says whether the negative prompt has a call of its own; else it shares one with the captions and has as many tokens.
    """

    padding: ClassVar[Literal["zeros", "hidden", "text"]]

    reads_negative_apart: ClassVar[bool] = False

    def encode_text(self, model: Pipeline, text: str, length: int | None = None) -> EncodedText:
        """Return what the denoiser is given for a prompt of at most `length` tokens, by default the pipeline's own."""
        with torch.no_grad():
            embeds, mask = _encode(model, text, length)
        if self.padding == "hidden":
            assert mask is not None
            return EncodedText(embeds[mask.bool()], embeds.new_zeros(embeds.shape[1]), 0)
        if self.padding == "text":
            return EncodedText(embeds, embeds.new_zeros(embeds.shape[1]), 0)
        filled = embeds.ne(0).any(-1)
        num_tokens = int(filled.nonzero().max()) + 1 if bool(filled.any()) else 0
        return EncodedText(embeds[:num_tokens], embeds.new_zeros(embeds.shape[1]), len(embeds) - num_tokens)

    def encode_negative(
        self, model: Pipeline, text: str, captions: Sequence[str], length: int | None = None
    ) -> Tensor | None:
        """Return the tokens of the negative prompt (tokens, width); None where it has a call of its own."""
        return None if self.reads_negative_apart else self.encode_text(model, text, length).tokens

    def tell_captions(self, model: Pipeline, tokens: Tensor, negative: Tensor | None) -> dict[str, Tensor]:
        """Return what a pipeline is told, by its names: captions (tokens, width), negative prompt, masks of both.

        Raises
        ------
        InputError
            The model reads a fixed number of tokens, and these are more.
        """
        length = max(len(tokens), 0 if negative is None else len(negative))
        fixed = self.fixed_text_length(model)
        if fixed is not None and (length > fixed or (length < fixed and not self._can_spare(model))):
            raise InputError(
                expected=f"{fixed} tokens of text in all, which is what this {type(model).__name__} reads",
                got=f"{length}",
                where="in the captions of the shots",
                remedy="write fewer or shorter captions, or give a max_sequence_length that makes them fit",
            )
        parts = {"": tokens} if negative is None else {"": tokens, "negative_": negative}
        known = inspect.signature(type(model).__call__).parameters
        told = {}
        for prefix, part in parts.items():
            spare = (fixed or length) - len(part)
            told[f"{prefix}prompt_embeds"] = torch.cat([part, part.new_zeros(spare, part.shape[1])])[None]
            if f"{prefix}prompt_attention_mask" in known:
                seen = torch.arange(fixed or length, device=part.device) < len(part)
                told[f"{prefix}prompt_attention_mask"] = seen[None]
        return told

    @override
    def fixed_text_length(self, model: Model) -> int | None:
        """Return 512 where text stands behind an image, which the model tells apart by counting; None elsewhere."""
        beside = dict(self.first_denoiser(model).config).get("added_kv_proj_dim")
        return None if beside is None else _BESIDE_AN_IMAGE

    def _can_spare(self, model: Model) -> bool:
        """Whether tokens that nobody looks at may follow the captions: where text has an attention of its own."""
        return any(site.kind == "cross" for site in self.sites(self.first_denoiser(model)))


def _encode(model: Pipeline, text: str, length: int | None) -> tuple[Tensor, Tensor | None]:
    """Encode a prompt with the pipeline's own settings: its tokens (tokens, width), and its mask where it has one."""
    own, asked = (inspect.signature(each).parameters for each in (type(model).__call__, model.encode_prompt))
    told: dict[str, Any] = {
        name: own[name].default for name in ("clean_caption", "mask_feature") if name in own
    }
    told |= {
        "prompt": text,
        "device": model._execution_device,
        "do_classifier_free_guidance": False,
        "is_guided": False,
    }
    told |= dict.fromkeys(("num_videos_per_prompt", "num_images_per_prompt"), 1)
    default = own["max_sequence_length"].default if "max_sequence_length" in own else None
    if (length or default) is not None:
        told["max_sequence_length"] = length or default
    given = [each for each in model.encode_prompt(**{name: told[name] for name in told if name in asked})]
    embeds = next(each for each in given if each is not None)
    mask = next((each for each in given if each is not None and each.ndim == 2), None)
    return embeds[0], None if mask is None else mask[0]
