"""I2VGen-XL, image and text to video: the blocks of ModelScope's UNet, told an image in three ways."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from torch import nn
from typing_extensions import override

from attnscope.families._unet import BOTH_LOOK_AT_FRAMES, Place, UNetFamily, temporal_blocks, within
from attnscope.families.facts import Reasons
from attnscope.families.protocols import Denoiser


class I2VGenXL(UNetFamily):
    """I2VGen-XL (`I2VGenXLUNet`): two attentions over time in each temporal transformer, the first two before stage 0.

    The image is given beside the noise in every frame, and as tokens beside the text; no latent frame is the image
    itself. One more attention over time, in `image_latents_temporal_encoder`, looks at what is given and not at the
    video; it is left out. The model adds no positions of frames of its own; a ramp over time comes with the image. The
    pipeline is marked as deprecated by diffusers.

    A limit to every mask: convolutions over three neighbouring frames behind each resnet, and group norms that span
    frames, mix frames past it.

    >>> I2VGenXL().stride
    1
    """

    name = "I2VGen-XL"
    pipelines = ("I2VGenXLPipeline",)
    networks = ("I2VGenXLUNet",)
    cannot: ClassVar[Reasons] = {"given videos": "it is told an image"}

    @override
    def places(self, stage: nn.Module) -> Iterable[Place]:
        """Return both attentions of every temporal transformer."""
        return within(stage, "temp_attentions", "transformer_blocks", *BOTH_LOOK_AT_FRAMES)

    @override
    def places_before(self, denoiser: Denoiser) -> Iterable[Place]:
        """Return both attentions of the transformer before the first stage."""
        first = denoiser.get_submodule("transformer_in")
        return temporal_blocks("transformer_in", first, "transformer_blocks", *BOTH_LOOK_AT_FRAMES)
