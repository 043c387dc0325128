"""EasyAnimate: text and video in one attention, the text first."""

from __future__ import annotations

from typing_extensions import override

from attnscope.families.base import GridFamily, Site, pair_sites
from attnscope.families.looking import LookingFamily
from attnscope.families.protocols import Denoiser
from attnscope.families.reading import ReadingFamily


class EasyAnimate(ReadingFamily, LookingFamily, GridFamily):
    """EasyAnimate: 256 tokens of text stand before the frames, padding of the text among them, which the model reads.

    Guidance is one call, [uncond, cond], of which the pipeline says nothing.

    >>> EasyAnimate().num_latent_frames(None, 49)
    13
    """

    name = "EasyAnimate"
    pipelines = ("EasyAnimatePipeline",)
    networks = ("EasyAnimateTransformer3DModel",)
    says_of_text = "joint, first"
    padding = "text"
    names_branches = False
    text = "before"

    @override
    def sites(self, denoiser: Denoiser) -> tuple[Site, ...]:
        """Return the joint attention of every block."""
        return tuple(pair_sites("transformer_blocks", len(denoiser.transformer_blocks)))

    @override
    def text_length(self, denoiser: Denoiser) -> int:
        """Return what the pipeline pads prompts to."""
        return 256
