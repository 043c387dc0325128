"""The pipeline classes of the embedded models: those of their families, with defaults that fit them."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import WanPipeline
from typing_extensions import override

from attnscope.families.seeding import seed_draws
from attnscope.models.lavie import LaViePipeline


class WanMiniPipeline(WanPipeline):
    """WanPipeline that by default makes 49 frames of 64 x 64 (3 s at 16 fps) in 20 steps, guidance 2.5.

    The files on disk are an ordinary WanPipeline; only the defaults of the call differ, since 832 x 480 is
    nothing a model of this size can draw.
    """

    fps = 16

    def __call__(
        self,
        prompt: str | list[str] | None = None,
        negative_prompt: str | list[str] | None = None,
        height: int = 64,
        width: int = 64,
        num_frames: int = 49,
        num_inference_steps: int = 20,
        guidance_scale: float = 2.5,
        generator: torch.Generator | list[torch.Generator] | None = None,
        **arguments: object,
    ) -> Any:
        """Generate a video; the arguments are those of WanPipeline.

        Its scheduler adds noise at each step, which follows from the generator too.
        """
        parent: Any = super()  # untyped upstream
        with seed_draws(self, generator):
            return parent.__call__(
                prompt=prompt,
                negative_prompt=negative_prompt,
                height=height,
                width=width,
                num_frames=num_frames,
                num_inference_steps=num_inference_steps,
                guidance_scale=guidance_scale,
                generator=generator,
                **arguments,
            )


class LaVieMiniPipeline(LaViePipeline):
    """LaViePipeline that by default makes 16 frames of 64 x 64 (2 s at 8 fps) in 20 steps, guidance 2.5.

    The files on disk are an ordinary LaViePipeline.
    """

    @override
    def __call__(  # type: ignore[override]  # what has no other default is handed on by name
        self,
        prompt: str | list[str] | None = None,
        height: int = 64,
        width: int = 64,
        num_frames: int = 16,
        num_inference_steps: int = 20,
        guidance_scale: float = 2.5,
        **arguments: Any,
    ) -> Any:
        """Generate a video; the arguments are those of LaViePipeline."""
        return super().__call__(
            prompt,
            height=height,
            width=width,
            num_frames=num_frames,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            **arguments,
        )


PIPELINES = {"WanPipeline": WanMiniPipeline, "LaViePipeline": LaVieMiniPipeline}
"""What an embedded model is called with, by the class that its files name."""
