"""Showing a model a video that exists: encoded, noised, and given to the denoiser as its own pipeline would call it.

What a denoiser is given beside the video (text, its mask, positions, rates) the pipeline prepares: it is run up to the
first call of the denoiser, which is caught, and the denoiser is then called with our latents in place of the noise.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from attnscope._types import Arguments, Document, Frames
from attnscope.errors import RunError, UnsupportedModelError
from attnscope.families.base import DenoiserCall, Family
from attnscope.families.calling import NoiseShare, omit_prompts
from attnscope.families.protocols import Denoiser, Pipeline
from attnscope.families.rehearsing import run_pipeline


class PreparedCall(Exception):
    """The first call of a denoiser, caught before it runs."""

    def __init__(self, arguments: Arguments) -> None:
        super().__init__("a call was caught")
        self.arguments = arguments


class _Catcher:
    """Stands where a denoiser stood, says of itself what that one says, and gives up what it is called with."""

    def __init__(self, denoiser: Denoiser, video_argument: str) -> None:
        self._denoiser, self._video_argument = denoiser, video_argument

    def __getattr__(self, name: str) -> Any:
        return getattr(self._denoiser, name)

    def __call__(self, *args: object, **kwargs: object) -> None:
        call = DenoiserCall.bind(self._denoiser, self._video_argument, args, kwargs)
        raise PreparedCall(call.arguments)


class LookingFamily(Family):
    """A family that can be shown a video: how its VAE is fed, and what its pipeline is told to prepare a call."""

    vae_reads: ClassVar[Literal["videos", "pictures"]] = "videos"
    """Whether the VAE takes a whole video, or one picture after another."""

    preparing: ClassVar[Arguments] = {"guidance_scale": 1.0}
    """What turns guidance off, so that one branch is prepared."""

    def look_at(
        self, model: Pipeline, frames: Frames, text: Arguments, sigmas: Sequence[float], seed: int
    ) -> None:
        """Run the denoiser once at each noise level of a video (frames, height, width, 3), uint8.

        The noise is the same at every level.

        Raises
        ------
        RunError
            The pipeline never called its denoiser, or asks for latents of another shape.
        InputError
            The pipeline refuses what it is told.
        """
        require_text_alone(model)
        denoiser = self.first_denoiser(model)
        with torch.no_grad():
            given = self._prepare(model, denoiser, frames, text)
            latents = self.encode_video(model, frames)
            noise = torch.randn(latents.shape, generator=torch.Generator("cpu").manual_seed(seed)).to(latents)
            for step, sigma in enumerate(sigmas):
                noised, timestep = mix_noise(model.scheduler, latents, noise, sigma)
                asked = given[self.video_argument]
                call = {
                    **given,
                    self.video_argument: self.fit(model, noised, asked).to(asked.dtype),
                    "timestep": torch.full_like(torch.as_tensor(given["timestep"]), timestep),
                }
                with denoiser.cache_context("cond", step_index=step, sigma=NoiseShare(sigma)):
                    denoiser(**call)

    def encode_video(self, model: Pipeline, frames: Frames) -> Tensor:
        """Return the latents of a video (1, channels, frames, height, width), scaled as the denoiser knows them."""
        vae = model.vae
        video = torch.from_numpy(frames).permute(3, 0, 1, 2)[None].to(vae.device, vae.dtype) / 127.5 - 1
        if self.vae_reads == "videos":
            latents: Tensor = vae.encode(video).latent_dist.mode()
        else:
            pictures = [vae.encode(picture[None]).latent_dist.mode() for picture in video[0].unbind(1)]
            latents = torch.stack(pictures, dim=2)
        return scale_latents(vae, latents.float())

    def fit(self, model: Pipeline, latents: Tensor, asked: Tensor) -> Tensor:
        """Bring latents (1, channels, frames, height, width) to the form that the denoiser was called with.

        Raises
        ------
        RunError
            It was called with another shape.
        """
        laid = latents if self.frame_axis == 2 else latents.transpose(1, 2)
        if laid.shape != asked.shape:
            raise RunError(
                expected=f"a pipeline that asks for latents {tuple(laid.shape)} as its VAE makes them",
                got=f"{tuple(asked.shape)}",
                where=f"in {type(model).__name__}",
                remedy="use a pipeline that makes videos from text alone",
            )
        return laid

    def _prepare(self, model: Pipeline, denoiser: Denoiser, frames: Frames, text: Arguments) -> Arguments:
        num_frames, height, width = frames.shape[:3]
        part = next(iter(self.denoisers(model)))
        arguments: Document = {
            self.frames_argument: num_frames,
            **omit_prompts(model, text),
            **text,
            "height": height,
            "width": width,
            "num_inference_steps": 2,
            "output_type": "latent",
            "generator": torch.Generator("cpu").manual_seed(0),
            **self.preparing,
        }
        if (length := self.fixed_text_length(model)) is not None:
            arguments["max_sequence_length"] = length
        # past the pipeline's own __setattr__, which would write the catcher into its configuration
        parts = vars(model)
        before = parts[part]
        parts[part] = _Catcher(denoiser, self.video_argument)
        try:
            run_pipeline(model, self, arguments)
        except PreparedCall as caught:
            return caught.arguments
        finally:
            parts[part] = before
        raise RunError(
            expected="a pipeline that calls its denoiser",
            got="none such call",
            where=f"in {type(model).__name__}",
            remedy="use one of the pipelines in the table of families",
        )


def require_text_alone(model: Pipeline) -> None:
    """Refuse a pipeline that must be given an image or a video to begin with.

    Raises
    ------
    UnsupportedModelError
        It has to be told one.
    """
    parameters = inspect.signature(type(model).__call__).parameters
    given = [name for name in ("image", "video", "conditions") if name in parameters]
    if given:
        raise UnsupportedModelError(
            expected="a pipeline that makes videos from text alone, to be shown one",
            got=type(model).__name__,
            where=f"which is told its {given[0]}",
            remedy="load the same weights as text to video",
        )


def scale_latents(vae: Denoiser, latents: Tensor) -> Tensor:
    """Bring what a VAE makes to the scale that a denoiser was trained on: mean 0 and width 1, by channel or at once."""
    mean, std = (_statistic(vae, name) for name in ("latents_mean", "latents_std"))
    factor = float(dict(vae.config).get("scaling_factor") or 1.0)
    if mean is None or std is None:
        return latents * factor
    mean, std = (each.to(latents).view(1, -1, 1, 1, 1) for each in (mean, std))
    return (latents - mean) * factor / std


def _statistic(vae: Denoiser, name: str) -> Tensor | None:
    found = dict(vae.config).get(name)
    found = dict(vae.named_buffers(recurse=False)).get(name) if found is None else found
    return None if found is None else torch.as_tensor(found)


def mix_noise(scheduler: Any, latents: Tensor, noise: Tensor, sigma: float) -> tuple[Tensor, float]:
    """Return latents at a noise level from 0 to 1, and the timestep that the denoiser knows it by.

    Flow matching: (1 - sigma) * latents + sigma * noise. Diffusion: sigma is the noise's share of the variance's root,
    sqrt(1 - alpha-bar), and the timestep the one whose share is nearest.
    """
    config = dict(scheduler.config)
    num_timesteps = int(config["num_train_timesteps"])
    cumulative = getattr(scheduler, "alphas_cumprod", None)
    if config.get("use_flow_sigmas") or cumulative is None:
        level = 1 - sigma if config.get("invert_sigmas") else sigma
        return (1 - sigma) * latents + sigma * noise, num_timesteps * level
    shares = (1 - cumulative.double()).sqrt()
    timestep = int((shares - sigma).abs().argmin())
    kept = float(cumulative[timestep])
    return math.sqrt(kept) * latents + math.sqrt(1 - kept) * noise, float(timestep)
