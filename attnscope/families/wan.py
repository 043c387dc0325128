"""Wan 2.1 and 2.2: one or two transformers whose blocks look at the video, then at the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from typing_extensions import override

from attnscope._types import Arguments, Floats32, Frames
from attnscope.families.base import DenoiserCall, GridFamily, Site, pair_sites
from attnscope.families.calling import NoiseShare
from attnscope.families.facts import COND, UNCOND
from attnscope.families.protocols import Denoiser, Model, Pipeline
from attnscope.families.reading import ReadingFamily


class Wan(ReadingFamily, GridFamily):
    """Wan: every block holds a self-attention over all frames and a cross-attention to the text.

    Layers 1 to 30 (Wan 2.1 1.3B) are `blocks.0.attn1` to `blocks.29.attn1`. Wan 2.2 has two transformers, one for
    high and one for low noise; both carry the same labels and only one runs at a step. Image to video of Wan 2.1 looks
    at the image before it looks at the text, in the same layer: that first look is not heard.

    >>> Wan().temporal_stride(None)
    4
    """

    name = "Wan"
    pipelines = ("WanPipeline", "WanImageToVideoPipeline", "WanVideoToVideoPipeline")
    networks = ("WanTransformer3DModel",)
    padding = "zeros"
    reads_negative_apart = True
    says_of_guidance = "two calls, cond then uncond"
    parts = ("transformer", "transformer_2")
    first_frame_pipelines = ("WanImageToVideoPipeline",)

    @override
    def sites(self, denoiser: Denoiser) -> tuple[Site, ...]:
        """Return self- and cross-attention of every block, in the order they run."""
        looks_at_image = int(denoiser.config.added_kv_proj_dim is not None)
        return tuple(pair_sites("blocks", len(denoiser.blocks), "attn1", "attn2", num_unheard=looks_at_image))

    @override
    def branches(self, model: Model, context: str, call: DenoiserCall) -> tuple[str, ...]:
        """Return what the pipeline says; video to video says nothing, and runs `cond` before `uncond`."""
        if not context and type(model).__name__ == "WanVideoToVideoPipeline":
            return super().branches(model, (COND, UNCOND)[min(call.order, 1)], call)
        return super().branches(model, context, call)

    def temporal_frequencies(self, denoiser: Denoiser) -> torch.Tensor:
        """Return the angle between frame 0 and frame 1 of each rotary pair of time: the table holds each twice."""
        rope = denoiser.rope
        cos, sin = (table[1, : rope.t_dim : 2].double() for table in (rope.freqs_cos, rope.freqs_sin))
        return torch.atan2(sin, cos)

    def decode(self, model: Pipeline, latents: torch.Tensor) -> Floats32:
        """Decode latents (1, channels, frames, height, width) causally: the first makes one frame, the others four."""
        vae = model.vae
        mean, std = self._latent_scale(vae, latents.device)
        with torch.no_grad():
            video = vae.decode((latents * std + mean).to(vae.dtype), return_dict=False)[0]
        pictures: Floats32 = model.video_processor.postprocess_video(video, output_type="np")[0]
        return pictures

    def _latent_scale(self, vae: nn.Module, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        config: Any = vae.config
        mean, std = (
            torch.tensor(values, device=device).view(1, -1, 1, 1, 1)
            for values in (config.latents_mean, config.latents_std)
        )
        return mean, std

    def look_at(
        self, model: Pipeline, frames: Frames, text: Arguments, sigmas: Sequence[float], seed: int
    ) -> None:
        """Run the denoiser once at each noise level of a video (frames, height, width, 3), uint8.

        Flow matching: noised = (1 - sigma) * latents + sigma * noise, the same noise at every level.
        """
        with torch.no_grad():
            latents = self.encode(model, frames)
            noise = torch.randn(latents.shape, generator=torch.Generator("cpu").manual_seed(seed)).to(latents)
            embeds = text.get("prompt_embeds")
            if embeds is None:
                embeds, _ = model.encode_prompt(
                    text["prompt"], do_classifier_free_guidance=False, device=latents.device
                )
            for step, sigma in enumerate(sigmas):
                timestep = 1000.0 * sigma
                denoiser = self._at(model, timestep)
                with denoiser.cache_context("cond", step_index=step, sigma=NoiseShare(sigma)):
                    denoiser(
                        ((1 - sigma) * latents + sigma * noise).to(denoiser.dtype),
                        torch.full((1,), timestep, device=latents.device),
                        embeds.to(latents.device, denoiser.dtype),
                        return_dict=False,
                    )

    def encode(self, model: Pipeline, frames: Frames) -> torch.Tensor:
        """Return latents (1, channels, frames, height, width) of a video, normalised as the pipeline expects them."""
        vae = model.vae
        video = torch.from_numpy(frames).permute(3, 0, 1, 2)[None].to(vae.device, vae.dtype) / 127.5 - 1
        latents: torch.Tensor = vae.encode(video).latent_dist.mode().float()
        mean, std = self._latent_scale(vae, latents.device)
        return (latents - mean) / std

    def _at(self, model: Pipeline, timestep: float) -> Denoiser:
        """The transformer that is responsible for this timestep."""
        boundary = model.config.get("boundary_ratio")
        if boundary is None or timestep >= boundary * model.scheduler.config.num_train_timesteps:
            chosen: Denoiser = model.transformer
        else:
            chosen = model.transformer_2
        return chosen
