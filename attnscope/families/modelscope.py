"""ModelScope text to video: Stable Diffusion blocks, each followed by convolutions and attention over time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from torch import nn
from typing_extensions import override

from attnscope.families._unet import BOTH_LOOK_AT_FRAMES, Place, TransformerUNetFamily, behind_text
from attnscope.families.facts import Reasons
from attnscope.families.looking import LookingFamily
from attnscope.families.reading import ReadingFamily


class ModelScope(ReadingFamily, LookingFamily, TransformerUNetFamily):
    """ModelScope text to video (`UNet3DConditionModel`): two attentions over time in each temporal transformer.

    The first two layers stand in `transformer_in`, before the first stage (stage `in`); the model adds no positions
    of frames. The pipelines are marked as deprecated by diffusers.

    A limit to every mask: each resnet is followed by convolutions over three neighbouring frames (`temp_convs`), four
    in a row, which mix frames whatever the attention does; the group norms of the temporal transformers and
    convolutions span frames, too. So a hard mask makes the attention across a cut exactly 0, and yet the shots are not
    independent.

    >>> ModelScope().parts
    ('unet',)
    """

    name = "ModelScope"
    pipelines = ("TextToVideoSDPipeline",)
    networks = ("UNet3DConditionModel",)
    cannot: ClassVar[Reasons] = {"time offsets": "it has no rotary positions"}
    vae_reads = "pictures"
    padding = "text"

    @override
    def places(self, stage: nn.Module) -> Iterable[Place]:
        """Return both attentions of every temporal transformer, and before it where the pictures read the text."""
        return behind_text(stage, "temp_attentions", *BOTH_LOOK_AT_FRAMES)
