"""I2VGen-XL, image and text to video: the blocks of ModelScope's UNet, told an image in three ways."""

from __future__ import annotations

from typing import ClassVar

from attnscope.families._unet import TransformerUNetFamily
from attnscope.families.facts import Reasons


class I2VGenXL(TransformerUNetFamily):
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
    cannot: ClassVar[Reasons] = {
        "captions": "tokens of an image stand among those of its text",
        "given videos": "it is told an image",
        "time offsets": "it has no rotary positions",
    }
