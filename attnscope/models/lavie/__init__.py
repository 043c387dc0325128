"""LaVie and CineTrans-UNet, which diffusers does not have: the denoiser, the pipeline, the published checkpoints.

Importing this loads torch and diffusers.
"""

from __future__ import annotations

from attnscope.models.lavie.checkpoints import pipeline_from, read_checkpoint, unet_from
from attnscope.models.lavie.pipeline import LaViePipeline
from attnscope.models.lavie.unet import LaVieUNet

__all__ = ["LaViePipeline", "LaVieUNet", "pipeline_from", "read_checkpoint", "unet_from"]
