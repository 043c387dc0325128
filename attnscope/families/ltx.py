"""LTX-Video: packed tokens whose grid the pipeline says, and text that only cross-attention sees."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from attnscope.errors import LayoutError
from attnscope.families.base import DenoiserCall, GridFamily, Site, pair_sites
from attnscope.families.layout import FrameLayout
from attnscope.families.looking import LookingFamily
from attnscope.families.protocols import Denoiser, Pipeline
from attnscope.families.reading import ReadingFamily


class LTX(ReadingFamily, LookingFamily, GridFamily):
    """LTX-Video: the latent video comes as a row of tokens, frame by frame; the call says frames, height and width.

    The conditioning pipeline says places instead, one for each token; images that are not the first frame add tokens
    in front, and such a call is refused. Guidance is one call, [uncond, cond].

    >>> LTX().num_latent_frames(None, 161)
    21
    """

    name = "LTX-Video"
    pipelines = ("LTXPipeline", "LTXImageToVideoPipeline", "LTXConditionPipeline")
    networks = ("LTXVideoTransformer3DModel",)
    padding = "hidden"
    stride = 8
    scale = 32
    first_frame_pipelines = ("LTXImageToVideoPipeline", "LTXConditionPipeline")

    @override
    def sites(self, denoiser: Denoiser) -> tuple[Site, ...]:
        """Return self- and cross-attention of every block."""
        return tuple(pair_sites("transformer_blocks", len(denoiser.transformer_blocks), cross="attn2"))

    @override
    def layout(self, denoiser: Denoiser, call: DenoiserCall, sample: int) -> FrameLayout:
        """Return the layout of packed tokens (batch, tokens, channels)."""
        num_tokens, given = call.video.shape[1], call.arguments
        places = given.get("video_coords")
        num_frames = int(given["num_frames"]) if places is None else num_places(places[sample, 0])
        if num_tokens % num_frames:
            raise LayoutError(
                expected=f"{num_tokens} tokens to make {num_frames} equal frames",
                got="a remainder",
                where="in an LTX model",
                remedy="give the pipeline an image for the first frame only",
            )
        return FrameLayout.uniform(num_frames, num_tokens // num_frames)

    @override
    def fit(self, model: Pipeline, latents: Tensor, asked: Tensor) -> Tensor:
        """Pack the latents into a row of tokens."""
        patch, of_time = model.transformer_spatial_patch_size, model.transformer_temporal_patch_size
        packed: Tensor = model._pack_latents(latents, patch, of_time)
        if packed.shape != asked.shape:
            return super().fit(model, latents, asked)
        return packed


def num_places(times: torch.Tensor) -> int:
    """Return how many frames there are, from the time of every token, which must rise from frame to frame.

    Raises
    ------
    LayoutError
        If tokens of one time stand apart: they belong to an image that is no frame of the video.
    """
    if bool((times.diff() < 0).any()):
        raise LayoutError(
            expected="tokens in the order of their frames",
            got="tokens of added images in front",
            where="in an LTX model",
            remedy="give the pipeline an image for the first frame only",
        )
    return len(set(times.tolist()))
