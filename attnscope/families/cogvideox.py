"""CogVideoX 1.0 and 1.5: text and video in one attention, the text first."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from attnscope.families.base import GridFamily, Site, pair_sites
from attnscope.families.looking import LookingFamily
from attnscope.families.protocols import Denoiser, Model, Pipeline
from attnscope.families.reading import ReadingFamily


class CogVideoX(ReadingFamily, LookingFamily, GridFamily):
    """CogVideoX: 226 tokens of text stand before the frames, padding of the text among them, which the model reads.

    Guidance is one call, [uncond, cond]. CogVideoX 1.5 takes two latent frames for one token frame and puts latent
    frames of its own in front until they come out even; such a token frame holds 8 frames of video, the first one a
    single frame, and all numbers of frames here are token frames.

    >>> CogVideoX().num_latent_frames(None, 49)
    13
    """

    name = "CogVideoX"
    pipelines = ("CogVideoXPipeline", "CogVideoXImageToVideoPipeline", "CogVideoXVideoToVideoPipeline")
    networks = ("CogVideoXTransformer3DModel",)
    says_of_text = "joint, first"
    padding = "text"
    text = "before"
    frame_axis = 1
    first_frame_pipelines = ("CogVideoXImageToVideoPipeline",)

    @override
    def sites(self, denoiser: Denoiser) -> tuple[Site, ...]:
        """Return the joint attention of every block."""
        return tuple(pair_sites("transformer_blocks", len(denoiser.transformer_blocks)))

    @override
    def text_length(self, denoiser: Denoiser) -> int:
        """Return what the pipeline pads prompts to."""
        return int(denoiser.config.max_text_seq_length)

    @override
    def fixed_text_length(self, model: Model) -> int | None:
        """Return the length of the text in front of the positions that are added, where positions are added."""
        config = self.first_denoiser(model).config
        added = not config.use_rotary_positional_embeddings or config.use_learned_positional_embeddings
        return int(config.max_text_seq_length) if added else None

    @override
    def temporal_stride(self, model: Model) -> int:
        """Return how many frames of video one token frame holds: 4, or 8 in CogVideoX 1.5."""
        patch = 1 if model is None else self.patch(self.first_denoiser(model))[0]
        return super().temporal_stride(model) * patch

    @override
    def fit(self, model: Pipeline, latents: Tensor, asked: Tensor) -> Tensor:
        """Put latent frames in front until they come out even, as CogVideoX 1.5 does: the first one again."""
        missing = asked.shape[1] - latents.shape[2]
        if 0 < missing < self.patch(self.first_denoiser(model))[0]:
            latents = torch.cat([latents[:, :, :1]] * missing + [latents], dim=2)
        return super().fit(model, latents, asked)
