"""LTX-2: the video half of a model that makes video and sound together."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from attnscope.errors import LayoutError
from attnscope.families.base import DenoiserCall, GridFamily, Site, pair_sites
from attnscope.families.facts import MIXED_TEXT, Reasons
from attnscope.families.layout import FrameLayout
from attnscope.families.protocols import Denoiser


class LTX2(GridFamily):
    """LTX-2: every block holds a self-attention over all frames and a cross-attention to the text, and four for sound.

    Those of the sound, and between sound and pictures, are no layers. Guidance is one call, [uncond, cond]; the further
    passes that the pipeline can make are branches of their own, `uncond_stg` and `uncond_modality`.

    >>> LTX2().num_latent_frames(None, 121)
    16
    """

    name = "LTX-2"
    pipelines = ("LTX2Pipeline", "LTX2ImageToVideoPipeline")
    networks = ("LTX2VideoTransformer3DModel",)
    cannot: ClassVar[Reasons] = {**MIXED_TEXT, "given videos": "it makes sound beside the pictures"}
    stride = 8
    scale = 32
    first_frame_pipelines = ("LTX2ImageToVideoPipeline",)

    @override
    def sites(self, denoiser: Denoiser) -> tuple[Site, ...]:
        """Return self- and cross-attention of the video in every block."""
        return tuple(pair_sites("transformer_blocks", len(denoiser.transformer_blocks), cross="attn2"))

    @override
    def layout(self, denoiser: Denoiser, call: DenoiserCall, sample: int) -> FrameLayout:
        """Return the layout of packed tokens (batch, tokens, channels)."""
        frames, height, width = (int(call.arguments[name]) for name in ("num_frames", "height", "width"))
        num_tokens = int(call.video.shape[1])
        if num_tokens != frames * height * width:
            raise LayoutError(
                expected=f"{frames} frames of {height} x {width} tokens",
                got=f"{num_tokens} tokens",
                where="in an LTX-2 model",
                remedy="leave out the images that are no frames",
            )
        return FrameLayout.uniform(frames, height * width)
