"""HunyuanVideo: text and video in one attention, the text last, its padding hidden by a mask."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from attnscope._types import Arguments
from attnscope.families.base import DenoiserCall, GridFamily, Site, pair_sites
from attnscope.families.facts import MIXED_TEXT
from attnscope.families.looking import LookingFamily
from attnscope.families.protocols import Denoiser


class HunyuanVideo(LookingFamily, GridFamily):
    """HunyuanVideo: blocks with weights of their own for the text, then blocks that share them; one attention each.

    Layers 1 to 20 are `transformer_blocks`, 21 to 60 `single_transformer_blocks`. The weights are distilled for
    guidance: one call a step, branch `cond`; true guidance adds a second call, `uncond`. The small attention that
    refines the text is no layer.

    >>> HunyuanVideo().num_latent_frames(None, 129)
    33
    """

    name = "HunyuanVideo"
    pipelines = ("HunyuanVideoPipeline",)
    networks = ("HunyuanVideoTransformer3DModel",)
    preparing: ClassVar[
        Arguments
    ] = {}  # distilled for guidance: the scale is something that the model is told
    says_of_text = "joint, last, padding hidden"
    cannot = MIXED_TEXT
    says_of_guidance = "distilled: cond alone"
    text = "after"

    @override
    def sites(self, denoiser: Denoiser) -> tuple[Site, ...]:
        """Return the joint attention of both kinds of blocks, in the order they run."""
        double, single = len(denoiser.transformer_blocks), len(denoiser.single_transformer_blocks)
        return (
            *pair_sites("transformer_blocks", double, "attn"),
            *pair_sites("single_transformer_blocks", single, "attn", first=double + 1),
        )

    @override
    def text_length(self, denoiser: Denoiser) -> int:
        """Return what the pipeline pads prompts to."""
        return 256

    @override
    def text_tokens(self, call: DenoiserCall, sample: int) -> tuple[int, int]:
        """Return the length of this video's prompt, and of its padding."""
        mask = call.arguments["encoder_attention_mask"][sample]
        used = int(mask.sum())
        return used, int(mask.numel()) - used
