"""ModelScope text to video: Stable Diffusion blocks, each followed by convolutions and attention over time."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from typing_extensions import override

from attnscope.families._unet import BOTH_LOOK_AT_FRAMES, Place, UNetFamily, temporal_blocks, within
from attnscope.families.looking import LookingFamily
from attnscope.families.protocols import Denoiser


class ModelScope(LookingFamily, UNetFamily):
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
    vae_reads = "pictures"

    @override
    def places(self, stage: nn.Module) -> Iterable[Place]:
        """Return both attentions of every temporal transformer."""
        return within(stage, "temp_attentions", "transformer_blocks", *BOTH_LOOK_AT_FRAMES)

    @override
    def places_before(self, denoiser: Denoiser) -> Iterable[Place]:
        """Return both attentions of the transformer before the first stage."""
        first = denoiser.get_submodule("transformer_in")
        return temporal_blocks("transformer_in", first, "transformer_blocks", *BOTH_LOOK_AT_FRAMES)
