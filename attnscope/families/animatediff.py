"""AnimateDiff: motion modules behind the blocks of a Stable Diffusion UNet, two attentions over time in each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from torch import nn
from typing_extensions import override

from attnscope.families._unet import BOTH_LOOK_AT_FRAMES, Place, UNetFamily, behind_text
from attnscope.families.facts import Reasons
from attnscope.families.looking import LookingFamily
from attnscope.families.protocols import Model
from attnscope.families.reading import ReadingFamily


class AnimateDiff(ReadingFamily, LookingFamily, UNetFamily):
    """AnimateDiff, text to video and video to video: `UNetMotionModel`.

    A motion module has two attentions, `attn1` and `attn2`, and in both frames look at frames: they are two layers. A
    motion module stands behind every resnet of the stages on the way down and up, those without attention to the text
    among them, and in the middle where `use_motion_mid_block` says so. Positions of frames are added before each
    attention and end at `motion_max_seq_length`.

    Past a mask, frames still share one mean and variance per group of channels at the entry of every motion module (its
    group norm spans frames). FreeNoise, which attends window by window, is refused when it runs: a window is not the
    whole video.

    >>> AnimateDiff().num_latent_frames(None, 16)
    16
    """

    name = "AnimateDiff"
    pipelines = ("AnimateDiffPipeline", "AnimateDiffVideoToVideoPipeline")
    networks = ("UNetMotionModel",)
    cannot: ClassVar[Reasons] = {"time offsets": "it has no rotary positions"}
    vae_reads = "pictures"
    padding = "text"

    @override
    def places(self, stage: nn.Module) -> Iterable[Place]:
        """Return both attentions of every motion module, and before it where the pictures read the text."""
        return behind_text(stage, "motion_modules", *BOTH_LOOK_AT_FRAMES)

    @override
    def most_frames(self, model: Model) -> int | None:
        """Return the number of positions of the motion modules."""
        return int(self.first_denoiser(model).config.motion_max_seq_length)
