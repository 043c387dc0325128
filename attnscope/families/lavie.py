"""LaVie and CineTrans-UNet: attention over time, with rotary positions, in every block of Stable Diffusion 1."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from typing_extensions import override

from attnscope._types import Floats32
from attnscope.families._unet import TEXT, Place, UNetFamily, within
from attnscope.families.looking import LookingFamily
from attnscope.families.protocols import Pipeline
from attnscope.families.reading import ReadingFamily


class LaVie(ReadingFamily, LookingFamily, UNetFamily):
    """LaVie, and CineTrans-UNet, which is LaVie trained on films with cuts: :mod:`attnscope.models.lavie`.

    16 layers: 6 on the way down, 1 in the middle, 9 on the way up. The last six to run, those of `up_blocks.2` and
    `up_blocks.3`, are the ones that CineTrans-UNet masks (preset `cinetrans-unet`). The scores carry a learned bias by
    distance in time, which is part of the attention that is measured, and stays when a mask is laid on.

    Past a mask, frames still share one mean and variance per group of channels in every resnet and at the end (group
    norms that span frames), in training and when films are made, in CineTrans-UNet as published, too.

    >>> LaVie().pipelines
    ('LaViePipeline',)
    """

    name = "LaVie"
    pipelines = ("LaViePipeline",)
    networks = ("LaVieUNet",)
    vae_reads = "pictures"
    padding = "text"

    @override
    def places(self, stage: nn.Module) -> Iterable[Place]:
        """Return attention to the text, then over time, of every transformer block."""
        return within(stage, "attentions", "transformer_blocks", TEXT, ("attn_temp", "self"))

    def decode(self, model: Pipeline, latents: Tensor) -> Floats32:
        """Return the pictures of one latent video, (frames, height, width, 3) from 0 to 1, as the pipeline does."""
        with torch.no_grad():
            video = model.decode_latents(latents)
            pictures: Floats32 = model.video_processor.postprocess_video(video, output_type="np")[0]
        return pictures
