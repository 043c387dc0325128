"""SkyReels-V2: Wan's blocks, trained so that every frame may have a noise level of its own."""

from __future__ import annotations

from typing_extensions import override

from attnscope.families.base import GridFamily, Site, pair_sites
from attnscope.families.looking import LookingFamily
from attnscope.families.protocols import Denoiser
from attnscope.families.reading import ReadingFamily


class SkyReels(ReadingFamily, LookingFamily, GridFamily):
    """SkyReels-V2: every block holds a self-attention over all frames and a cross-attention to the text.

    With diffusion forcing each frame has its own timestep; the one recorded is that of the noisiest frame. A model
    that looks back in blocks of frames hides the future by a mask of its own, which is part of what is measured.
    Image to video looks at the image before it looks at the text; that first look is not heard. A video longer than
    the pipeline's `base_num_frames` is made piece by piece, and is refused.

    >>> SkyReels().num_latent_frames(None, 97)
    25
    """

    name = "SkyReels-V2"
    pipelines = (
        "SkyReelsV2Pipeline",
        "SkyReelsV2DiffusionForcingPipeline",
        "SkyReelsV2ImageToVideoPipeline",
        "SkyReelsV2DiffusionForcingImageToVideoPipeline",
        "SkyReelsV2DiffusionForcingVideoToVideoPipeline",
    )
    networks = ("SkyReelsV2Transformer3DModel",)
    padding = "zeros"
    reads_negative_apart = True
    says_of_guidance = "two calls, cond then uncond"
    first_frame_pipelines = (
        "SkyReelsV2ImageToVideoPipeline",
        "SkyReelsV2DiffusionForcingImageToVideoPipeline",
    )

    @override
    def sites(self, denoiser: Denoiser) -> tuple[Site, ...]:
        """Return self- and cross-attention of every block."""
        looks_at_image = int(denoiser.config.added_kv_proj_dim is not None)
        return tuple(pair_sites("blocks", len(denoiser.blocks), cross="attn2", num_unheard=looks_at_image))
