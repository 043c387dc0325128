"""Mochi: text and video in one attention, the text last and without its padding, one video after another."""

from __future__ import annotations

from typing_extensions import override

from attnscope.families.base import DenoiserCall, GridFamily, Site, pair_sites
from attnscope.families.looking import LookingFamily
from attnscope.families.protocols import Denoiser
from attnscope.families.reading import ReadingFamily


class Mochi(ReadingFamily, LookingFamily, GridFamily):
    """Mochi: each video of a batch attends by itself, to its frames and to as many text tokens as its prompt has.

    Guidance is one call, [uncond, cond], so that the branches see different amounts of text. One latent frame holds
    6 frames of video. Past captions of shots, one vector pooled over all of them is told to every frame.

    >>> Mochi().num_latent_frames(None, 163)
    28
    """

    name = "Mochi"
    pipelines = ("MochiPipeline",)
    networks = ("MochiTransformer3DModel",)
    says_of_text = "joint, last, one video at a time"
    padding = "hidden"
    stride = 6
    text = "after"

    @override
    def sites(self, denoiser: Denoiser) -> tuple[Site, ...]:
        """Return the joint attention of every block."""
        return tuple(pair_sites("transformer_blocks", len(denoiser.transformer_blocks)))

    @override
    def text_length(self, denoiser: Denoiser) -> int:
        """Return what the pipeline pads prompts to."""
        return int(denoiser.config.max_sequence_length)

    @override
    def text_tokens(self, call: DenoiserCall, sample: int) -> tuple[int, int]:
        """Return the length of this video's prompt; the padding never reaches the attention."""
        return int(call.arguments["encoder_attention_mask"][sample].sum()), 0
