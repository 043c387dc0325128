"""Wan 2.1 and 2.2, text to video: one or two transformers whose blocks look at the video, then at the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import nn

from attnscope.errors import InputError, LayoutError
from attnscope.families._base import DenoiserInput, EncodedText, Site
from attnscope.layout import FrameLayout

# The temporal stride of the VAE all Wan models share; a bare transformer does not know its VAE.
_VAE_STRIDE = 4
_VAE_SCALE = 8
# What the pipeline pads prompts to; the padding is not masked, so its amount is part of what the model was trained on.
_TEXT_LENGTH = 512


class Wan:
    """Wan text to video: every block holds a self-attention over all frames and a cross-attention to the text.

    Layers 1 to 30 (Wan 2.1 1.3B) are `blocks.0.attn1` to `blocks.29.attn1`. Wan 2.2 has two transformers, one for
    high and one for low noise; both carry the same labels and only one runs at a step. Image-to-video variants,
    whose cross-attention runs twice, are left out.

    >>> Wan().prefix(Site(layer=7, module="blocks.6.attn2", stage="blocks", kind="cross"))
    'blocks.6.xattn'
    """

    name = "Wan"
    models: tuple[str, ...] = ("WanPipeline", "WanTransformer3DModel")

    renames: Mapping[str, str] = MappingProxyType(
        {"transformer.blocks": "blocks", "attn1.processor": "attn", "attn2.processor": "xattn"}
    )

    def denoisers(self, model: Any) -> dict[str, nn.Module]:
        """Return `transformer` and `transformer_2`, those that are there; a bare transformer is its own."""
        if isinstance(model, nn.Module):
            return {"transformer": model}
        found = {name: getattr(model, name, None) for name in ("transformer", "transformer_2")}
        return {name: module for name, module in found.items() if module is not None}

    def sites(self, denoiser: nn.Module) -> tuple[Site, ...]:
        """Return self- and cross-attention of every block, in the order they run."""
        blocks = cast("nn.ModuleList", denoiser.blocks)
        sites: list[Site] = []
        for index in range(len(blocks)):
            sites.append(Site(index + 1, f"blocks.{index}.attn1", "blocks", "self"))
            sites.append(Site(index + 1, f"blocks.{index}.attn2", "blocks", "cross"))
        return tuple(sites)

    def prefix(self, site: Site) -> str:
        """Return `blocks.{i}.attn` or `blocks.{i}.xattn`, with i as in diffusers (0-based)."""
        block, _ = site.module.rsplit(".", 1)
        return f"{block}.attn" if site.kind == "self" else f"{block}.xattn"

    def layout(self, denoiser: nn.Module, latent_shape: Sequence[int]) -> FrameLayout:
        """Return the frame-major layout of a latent video (batch, channels, frames, height, width)."""
        if len(latent_shape) != 5:
            raise LayoutError(
                f"expected latents (batch, channels, frames, height, width), got shape {tuple(latent_shape)}, "
                f"in a Wan transformer; pass the latents as the pipeline does"
            )
        _, _, num_frames, height, width = latent_shape
        config = cast(Any, denoiser).config
        patch_frames, patch_height, patch_width = config.patch_size
        return FrameLayout.uniform(
            num_frames // patch_frames, (height // patch_height) * (width // patch_width)
        )

    def temporal_stride(self, model: Any) -> int:
        """Return the stride of the pipeline's VAE: 4, the first latent frame being a single frame."""
        return int(getattr(model, "vae_scale_factor_temporal", _VAE_STRIDE))

    def require_size(self, model: Any, *, num_frames: int, height: int, width: int) -> None:
        """Refuse what the patches do not tile, or what lies beyond the positions that the model knows."""
        stride, config = (
            self.temporal_stride(model),
            cast(Any, next(iter(self.denoisers(model).values()))).config,
        )
        scale, most = (
            int(getattr(model, "vae_scale_factor_spatial", _VAE_SCALE)),
            int(config.rope_max_seq_len),
        )
        if num_frames < stride + 1 or (num_frames - 1) % stride or num_frames > stride * (most - 1) + 1:
            near = min(max(round((num_frames - 1) / stride), 1), most - 1) * stride + 1
            raise InputError(
                f"expected {stride}n + 1 frames, from {stride + 1} to {stride * (most - 1) + 1}, got {num_frames} as "
                f"num_frames of a Wan video; use {near}"
            )
        for name, pixels, patch in zip(
            ("height", "width"), (height, width), config.patch_size[1:], strict=True
        ):
            grid = scale * patch
            if pixels < grid or pixels % grid or pixels > grid * most:
                near = min(max(round(pixels / grid), 1), most) * grid
                raise InputError(
                    f"expected a multiple of {grid} pixels, from {grid} to {grid * most}, got {pixels} as {name} of a "
                    f"Wan video; use {near}"
                )

    def temporal_frequencies(self, denoiser: nn.Module) -> torch.Tensor:
        """Return the angle between frame 0 and frame 1 of each rotary pair of time: the table holds each twice."""
        rope: Any = denoiser.rope
        cos, sin = (table[1, : rope.t_dim : 2].double() for table in (rope.freqs_cos, rope.freqs_sin))
        return torch.atan2(sin, cos)

    def encode_text(self, model: Any, text: str, length: int = _TEXT_LENGTH) -> EncodedText:
        """Return the token embeddings of a prompt, without the zeros that the pipeline pads it with."""
        with torch.no_grad():
            embeds, _ = model.encode_prompt(
                text, do_classifier_free_guidance=False, max_sequence_length=length
            )
        (padded,) = embeds
        filled = padded.ne(0).any(-1)
        num_tokens = int(filled.nonzero().max()) + 1 if bool(filled.any()) else 0
        return EncodedText(padded[:num_tokens], padded.new_zeros(padded.shape[1]), length - num_tokens)

    def decode(self, model: Any, latents: torch.Tensor) -> Any:
        """Decode latents (1, channels, frames, height, width) causally: the first makes one frame, the others four."""
        vae = model.vae
        mean, std = self._latent_scale(vae, latents.device)
        with torch.no_grad():
            video = vae.decode((latents * std + mean).to(vae.dtype), return_dict=False)[0]
        return model.video_processor.postprocess_video(video, output_type="np")[0]

    def _latent_scale(self, vae: Any, device: Any) -> tuple[torch.Tensor, torch.Tensor]:
        mean, std = (
            torch.tensor(values, device=device).view(1, -1, 1, 1, 1)
            for values in (vae.config.latents_mean, vae.config.latents_std)
        )
        return mean, std

    def read_input(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> DenoiserInput:
        """Return shape and timestep out of `forward(hidden_states, timestep, ...)`."""
        latents = args[0] if args else kwargs["hidden_states"]
        timestep = args[1] if len(args) > 1 else kwargs["timestep"]
        return DenoiserInput(tuple(latents.shape), timestep)

    def look_at(self, model: Any, frames: Any, prompt: str, sigmas: Sequence[float], seed: int) -> None:
        """Run the denoiser once at each noise level of a video (frames, height, width, 3), uint8.

        Flow matching: noised = (1 - sigma) * latents + sigma * noise, the same noise at every level.
        """
        with torch.no_grad():
            latents = self._encode(model, frames)
            noise = torch.randn(latents.shape, generator=torch.Generator("cpu").manual_seed(seed)).to(latents)
            text, _ = model.encode_prompt(prompt, do_classifier_free_guidance=False, device=latents.device)
            for step, sigma in enumerate(sigmas):
                timestep = 1000.0 * sigma
                denoiser = self._at(model, timestep)
                with denoiser.cache_context("cond", step_index=step, sigma=sigma):
                    denoiser(
                        ((1 - sigma) * latents + sigma * noise).to(denoiser.dtype),
                        torch.full((1,), timestep, device=latents.device),
                        text.to(denoiser.dtype),
                        return_dict=False,
                    )

    def _encode(self, model: Any, frames: Any) -> torch.Tensor:
        """Latents (1, channels, frames, height, width) of a video, normalised as the pipeline expects them."""
        vae = model.vae
        video = torch.from_numpy(frames).permute(3, 0, 1, 2)[None].to(vae.device, vae.dtype) / 127.5 - 1
        latents: torch.Tensor = vae.encode(video).latent_dist.mode().float()
        mean, std = self._latent_scale(vae, latents.device)
        return (latents - mean) / std

    def _at(self, model: Any, timestep: float) -> Any:
        """The transformer that is responsible for this timestep."""
        boundary = model.config.get("boundary_ratio")
        if boundary is None or timestep >= boundary * model.scheduler.config.num_train_timesteps:
            return model.transformer
        return model.transformer_2
