"""HunyuanVideo 1.5: text and video in one attention, the text last, its padding hidden from both sides."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from attnscope._types import Arguments
from attnscope.families.base import DenoiserCall, GridFamily, Site, pair_sites
from attnscope.families.facts import MIXED_TEXT
from attnscope.families.looking import LookingFamily
from attnscope.families.protocols import Denoiser, Model, Pipeline


class HunyuanVideo15(LookingFamily, GridFamily):
    """HunyuanVideo 1.5: behind the frames stand the tokens of an image, of glyphs and of the prompt, then all padding.

    What is given of the three counts as text. A mask hides the padding, which looks at nothing itself. Guidance is one
    call for each branch, run by a guider.

    >>> HunyuanVideo15().num_latent_frames(None, 121)
    31
    """

    name = "HunyuanVideo-1.5"
    pipelines = ("HunyuanVideo15Pipeline",)
    networks = ("HunyuanVideo15Transformer3DModel",)
    preparing: ClassVar[Arguments] = {}  # a guider decides
    says_of_text = "joint, last, padding hidden"
    cannot = MIXED_TEXT
    says_of_guidance = "two calls, cond then uncond"
    scale = 16
    text = "after"

    @override
    def sites(self, denoiser: Denoiser) -> tuple[Site, ...]:
        """Return the joint attention of every block."""
        return tuple(pair_sites("transformer_blocks", len(denoiser.transformer_blocks), "attn"))

    @override
    def text_length(self, denoiser: Denoiser) -> int:
        """Return what the pipeline lays behind the frames: 1000 tokens of prompt, 256 of glyphs, 729 of an image."""
        return 1000 + 256 + 729

    @override
    def branches(self, model: Model, context: str, call: DenoiserCall) -> tuple[str, ...]:
        """Return `cond` or `uncond`, which the guider calls `pred_cond` and `pred_uncond`."""
        return super().branches(model, context.removeprefix("pred_"), call)

    @override
    def text_tokens(self, call: DenoiserCall, sample: int) -> tuple[int, int]:
        """Return how many tokens of text, and how many of padding, this video has."""
        given = call.arguments
        used = whole = 0
        for mask in (given["encoder_attention_mask"][sample], given["encoder_attention_mask_2"][sample]):
            used, whole = used + int(mask.sum()), whole + int(mask.numel())
        num_image = int(given["image_embeds"].shape[1])
        # The model takes zeros for "no image", of the whole batch at once.
        used += num_image if bool((given["image_embeds"] != 0).any()) else 0
        return used, whole + num_image - used

    @override
    def fit(self, model: Pipeline, latents: Tensor, asked: Tensor) -> Tensor:
        """Lay behind the latents what the pipeline lays there: an image, and a mask that says where it is."""
        beside = asked[:, latents.shape[1] :]
        return super().fit(model, torch.cat([latents, beside.to(latents)], dim=1), asked)
