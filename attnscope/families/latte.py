"""Latte: attention over time at every place of the picture by itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import override

from attnscope.errors import InputError
from attnscope.families.base import DenoiserCall, GridFamily, Site
from attnscope.families.facts import PER_PLACE
from attnscope.families.layout import FrameLayout
from attnscope.families.looking import LookingFamily
from attnscope.families.protocols import Denoiser, Model, Pipeline
from attnscope.families.reading import ReadingFamily


class Latte(ReadingFamily, LookingFamily, GridFamily):
    """Latte: spatial and temporal blocks in turn; the temporal ones are the layers.

    A place of the picture attends to itself in the other frames, so a sequence is the frames, one token each, and the
    places are neighbours in the batch; frame mass is their mean. A latent frame is a frame. Guidance is one call,
    [uncond, cond], of which the pipeline says nothing. The text is read by the spatial blocks alone, picture by
    picture; the pipeline leaves out its padding, and cuts the negative prompt to the length of the prompt.

    >>> Latte().num_latent_frames(None, 16)
    16
    """

    name = "Latte"
    pipelines = ("LattePipeline",)
    networks = ("LatteTransformer3DModel",)
    vae_reads = "pictures"
    padding = "text"
    says_of_text = "spatial blocks only"
    stride = 1
    names_branches = False
    frames_argument = "video_length"
    reading = PER_PLACE

    @override
    def sites(self, denoiser: Denoiser) -> tuple[Site, ...]:
        """Return attention to the text of every spatial block, then that over time of the temporal one behind it."""
        found: list[Site] = []
        for index in range(len(denoiser.temporal_transformer_blocks)):
            spatial, temporal = (f"{kind}transformer_blocks" for kind in ("", "temporal_"))
            found.append(Site(index + 1, f"{spatial}.{index}.attn2", spatial, "cross", by_picture=True))
            found.append(Site(index + 1, f"{temporal}.{index}.attn1", temporal, "self"))
        return tuple(found)

    @override
    def encode_negative(
        self, model: Pipeline, text: str, captions: Sequence[str], length: int | None = None
    ) -> Tensor | None:
        """Return the negative prompt as long as the longest caption, its padding among it."""
        with torch.no_grad():
            encoded: list[Tensor] = [
                model.encode_prompt(caption, negative_prompt=text)[1][0] for caption in captions
            ]
        return max(encoded, key=len)

    @override
    def require_size(self, model: Model, *, num_frames: int, height: int, width: int) -> None:
        """Refuse any number of frames but the one that the model has positions for."""
        known = int(self.first_denoiser(model).config.video_length)
        if num_frames != known:
            raise InputError(
                expected=f"{known} frames, for which this model has positions",
                got=f"{num_frames}",
                where=f"as num_frames of a {self.name} video",
                remedy=f"use {known}",
            )
        super().require_size(model, num_frames=num_frames, height=height, width=width)

    @override
    def default_size(self, model: Model) -> dict[str, int]:
        """Return the size of the pictures that the model was trained on."""
        side = int(self.first_denoiser(model).config.sample_size) * self.spatial_scale(model)
        return {"height": side, "width": side}

    @override
    def small_size(self, model: Model) -> dict[str, int]:
        """Return a small picture, and the only number of frames there is."""
        known = int(self.first_denoiser(model).config.video_length)
        return {**super().small_size(model), "num_frames": known}

    @override
    def layout(self, denoiser: Denoiser, call: DenoiserCall, sample: int) -> FrameLayout:
        """Return one token a frame."""
        return FrameLayout.uniform(int(call.video.shape[2]), 1)

    @override
    def expected_layout(self, model: Model, *, num_frames: int, height: int, width: int) -> FrameLayout:
        """Return one token a frame."""
        return FrameLayout.uniform(num_frames, 1)
