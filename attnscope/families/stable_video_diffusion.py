"""Stable Video Diffusion, image to video: a transformer over time beside each transformer within the picture."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import nn
from typing_extensions import override

from attnscope.families._unet import Place, UNetFamily, within
from attnscope.families.base import DenoiserCall
from attnscope.families.facts import Reasons


class StableVideoDiffusion(UNetFamily):
    """Stable Video Diffusion (`UNetSpatioTemporalConditionModel`): one attention over time in each transformer.

    Beside it, frames attend to the image (`attn2` of the temporal block): a single token, so its share is always 1.
    There is no text. The strength of guidance differs between frames; it is one call all the same, [uncond, cond], the
    image missing from the first half. What a denoiser is given is (batch, frames, channels, height, width), the latents
    of the image behind those of the video.

    Past a mask, the resnets over time (`temporal_res_block`) mix three neighbouring frames, and their group norms span
    frames; a learned weight blends what the transformer over time gives with what it was given.

    >>> StableVideoDiffusion().frame_axis
    1
    """

    name = "SVD"
    pipelines = ("StableVideoDiffusionPipeline",)
    networks = ("UNetSpatioTemporalConditionModel",)
    cannot: ClassVar[Reasons] = {
        "captions": "it reads no text",
        "given videos": "it is told an image",
        "time offsets": "it has no rotary positions",
    }
    frame_axis = 1
    says_of_text = "none; to the image"

    @override
    def places(self, stage: nn.Module) -> Iterable[Place]:
        """Return attention over time, and to the image, of every temporal block."""
        return within(
            stage, "attentions", "temporal_transformer_blocks", ("attn1", "self"), ("attn2", "cross")
        )

    @override
    def is_doubled(self, call: DenoiserCall) -> bool:
        """Return whether the latents of the video, without those of the image, are there twice."""
        first, second = call.video[:, :, : call.video.shape[2] // 2].chunk(2)
        return torch.equal(first, second)
