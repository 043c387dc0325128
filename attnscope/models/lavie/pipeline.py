"""LaVie as a diffusers pipeline: text to video, one call of the denoiser for both guidance branches."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.loaders.lora_pipeline import StableDiffusionLoraLoaderMixin
from diffusers.pipelines.pipeline_utils import StableDiffusionMixin
from diffusers.utils.outputs import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from diffusers.video_processor import VideoProcessor
from torch import Tensor

from attnscope.errors import InputError
from attnscope.models.lavie.unet import LaVieUNet

DECODED_AT_ONCE = 14
"""Frames that are decoded in one go. A VAE that mixes frames (that of Stable Video Diffusion) sees no more of them."""


OnStepEnd = Callable[["LaViePipeline", int, Tensor, dict[str, Tensor]], dict[str, Tensor]]
"""Told the pipeline, the step, its timestep and the latents; what it returns is gone on with."""


@dataclass
class LaViePipelineOutput(BaseOutput):
    """What LaVie made: `frames`, in the form that was asked for."""

    frames: object


class LaViePipeline(DiffusionPipeline, StableDiffusionMixin, StableDiffusionLoraLoaderMixin):
    """Text to video with LaVie (arXiv 2309.15103), and with CineTrans-UNet, which is LaVie trained on films with cuts.

    The denoiser is a :class:`LaVieUNet`; the other parts are those of Stable Diffusion 1. CineTrans-UNet reads the text
    with LongCLIP, a `CLIPTextModel` of 248 positions, and decodes with the VAE of Stable Video Diffusion
    (`AutoencoderKLTemporalDecoder`); both fit. There is no compression in time: a latent frame is a frame.

    The defaults of a call are the published ones of LaVie; CineTrans-UNet makes 64 frames at 8 frames per second.
    """

    # What `register_modules` and the base class put there, untyped.
    vae: Any
    text_encoder: Any
    tokenizer: Any
    unet: Any
    scheduler: Any
    register_modules: Any
    progress_bar: Any
    maybe_free_model_hooks: Any
    _execution_device: Any

    fps = 8
    model_cpu_offload_seq = "text_encoder->unet->vae"
    _callback_tensor_inputs = ("latents",)

    def __init__(
        self, vae: object, text_encoder: object, tokenizer: object, unet: LaVieUNet, scheduler: object
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.register_modules(
            vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, unet=unet, scheduler=scheduler
        )
        self.vae_scale_factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        self.video_processor = VideoProcessor(do_resize=False, vae_scale_factor=self.vae_scale_factor)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str] | None = None,
        height: int = 320,
        width: int = 512,
        num_frames: int = 16,
        num_inference_steps: int = 50,
        guidance_scale: float = 7.0,
        negative_prompt: str | list[str] | None = None,
        num_videos_per_prompt: int = 1,
        eta: float = 0.0,
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents: Tensor | None = None,
        prompt_embeds: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
        output_type: str = "np",
        return_dict: bool = True,
        callback_on_step_end: OnStepEnd | None = None,
    ) -> Any:
        """Make a video; the arguments mean what they mean in the text-to-video pipelines of diffusers.

        Raises
        ------
        InputError
            Neither a prompt nor its embedding was given, or both; height or width cannot be halved often enough.
        """
        self._require_usable(prompt, prompt_embeds, height, width, num_frames)
        guided = guidance_scale > 1
        device = self._execution_device
        wanted, unwanted = self.encode_prompt(
            prompt,
            device,
            num_videos_per_prompt,
            guided,
            negative_prompt,
            prompt_embeds,
            negative_prompt_embeds,
        )
        text = wanted if unwanted is None else torch.cat([unwanted, wanted])
        self.scheduler.set_timesteps(num_inference_steps, device=device)
        size = (num_frames, height // self.vae_scale_factor, width // self.vae_scale_factor)
        latents = self._noise(
            (len(wanted), self.unet.config.in_channels, *size), text.dtype, generator, latents
        )
        options = {"eta": eta, "generator": generator}
        latents = self._denoise(
            latents, text, guidance_scale if guided else None, options, callback_on_step_end
        )
        frames: object = latents
        if output_type != "latent":
            frames = self.video_processor.postprocess_video(
                self.decode_latents(latents), output_type=output_type
            )
        self.maybe_free_model_hooks()
        return LaViePipelineOutput(frames=frames) if return_dict else (frames,)

    def _denoise(
        self,
        latents: Tensor,
        text: Tensor,
        guidance_scale: float | None,
        options: Mapping[str, object],
        callback: Callable[..., dict[str, Tensor]] | None,
    ) -> Tensor:
        accepted = inspect.signature(self.scheduler.step).parameters
        options = {name: option for name, option in options.items() if name in accepted}
        with self.progress_bar(total=len(self.scheduler.timesteps)) as progress:
            for index, timestep in enumerate(self.scheduler.timesteps):
                shown = latents if guidance_scale is None else torch.cat([latents, latents])
                shown = self.scheduler.scale_model_input(shown, timestep)
                noise = self.unet(shown, timestep, encoder_hidden_states=text).sample
                if guidance_scale is not None:
                    without, with_text = noise.chunk(2)
                    noise = without + guidance_scale * (with_text - without)
                latents = self.scheduler.step(noise, timestep, latents, **options).prev_sample
                if callback is not None:
                    latents = callback(self, index, timestep, {"latents": latents})["latents"]
                progress.update()
        return latents

    def encode_prompt(
        self,
        prompt: str | list[str] | None,
        device: torch.device,
        num_videos_per_prompt: int,
        is_guided: bool,
        negative_prompt: str | list[str] | None = None,
        prompt_embeds: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the text as the denoiser reads it, and the negative one where there is guidance.

        Padded to the length of the tokenizer; the padding is read, too. (videos, tokens, width).
        """
        if prompt_embeds is None:
            prompt_embeds = self._read(prompt, device)
        if is_guided and negative_prompt_embeds is None:
            said = [""] if negative_prompt is None else negative_prompt
            negative_prompt_embeds = self._read(said, device)
        if not is_guided:
            return self._repeat(prompt_embeds, len(prompt_embeds), num_videos_per_prompt), None
        return (
            self._repeat(prompt_embeds, len(prompt_embeds), num_videos_per_prompt),
            self._repeat(negative_prompt_embeds, len(prompt_embeds), num_videos_per_prompt),
        )

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Return the pictures of latent videos, (videos, 3, frames, height, width), from -1 to 1."""
        num_videos, _, num_frames = latents.shape[:3]
        pictures = (latents / self.vae.config.scaling_factor).transpose(1, 2)
        mixes_frames = "num_frames" in inspect.signature(self.vae.decode).parameters
        decoded: list[Tensor] = []
        for video in pictures:
            for part in video.to(self.vae.dtype).split(DECODED_AT_ONCE):
                told = {"num_frames": len(part)} if mixes_frames else {}
                decoded.append(self.vae.decode(part, **told).sample)
        shape = (num_videos, num_frames, *decoded[0].shape[1:])
        return torch.cat(decoded).reshape(shape).transpose(1, 2).float()

    def _read(self, text: str | list[str] | None, device: torch.device) -> Tensor:
        tokens = self.tokenizer(
            text,
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        read: Tensor = self.text_encoder(tokens.input_ids.to(device))[0]
        return read

    def _repeat(self, read: Tensor | None, num_prompts: int, num_videos_per_prompt: int) -> Tensor:
        if read is None or len(read) not in (1, num_prompts):
            raise InputError(
                expected=f"one negative prompt, or one for each of {num_prompts} prompts",
                got=f"{0 if read is None else len(read)}",
                where="in LaViePipeline",
                remedy=f"give one or {num_prompts}",
            )
        whole = read.expand(num_prompts, *read.shape[1:]).repeat_interleave(num_videos_per_prompt, 0)
        return whole.to(self._execution_device, self.unet.dtype)

    def _noise(
        self,
        shape: tuple[int, ...],
        dtype: torch.dtype,
        generator: torch.Generator | list[torch.Generator] | None,
        latents: Tensor | None,
    ) -> Tensor:
        device = self._execution_device
        if latents is None:
            latents = randn_tensor(shape, generator=generator, device=device, dtype=dtype)
        started: Tensor = latents.to(device, dtype) * self.scheduler.init_noise_sigma
        return started

    def _require_usable(
        self, prompt: object, embeds: object, height: int, width: int, num_frames: int
    ) -> None:
        if (prompt is None) == (embeds is None):
            given = "neither" if prompt is None else "both"
            raise InputError(
                expected="a prompt or prompt_embeds",
                got=f"{given}",
                where="in LaViePipeline",
                remedy="give one of them",
            )
        grid = self.vae_scale_factor
        for name, pixels in (("height", height), ("width", width)):
            if pixels < grid or pixels % grid:
                raise InputError(
                    expected=f"a multiple of {grid} pixels",
                    got=f"{pixels} as {name}",
                    where="in LaViePipeline",
                    remedy=f"use {max(round(pixels / grid), 1) * grid}",
                )
        if num_frames < 1:
            raise InputError(
                expected="at least 1 frame",
                got=f"{num_frames}",
                where="in LaViePipeline",
                remedy="write 16",
            )
