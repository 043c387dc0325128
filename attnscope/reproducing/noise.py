"""Shots that begin with the same noise, so that they differ in nothing that the model is given but their place."""

from __future__ import annotations

import inspect
from itertools import pairwise
from typing import TYPE_CHECKING

from attnscope._types import Arguments
from attnscope.families import find
from attnscope.families.protocols import Pipeline
from attnscope.shots import LatentPlan

if TYPE_CHECKING:
    from torch import Tensor


def why_no_noise(pipe: Pipeline) -> str:
    """Say why the noise of a film cannot be chosen frame by frame; nothing where it can.

    >>> from attnscope.testing import tiny
    >>> why_no_noise(tiny("wan")), why_no_noise(tiny("ltx"))
    ('', 'its pipeline takes noise in another form than frame by frame')
    """
    family = find(pipe)
    denoiser = family.first_denoiser(pipe)
    if "latents" not in inspect.signature(type(pipe).__call__).parameters:
        return "its pipeline takes no noise"
    if family.given_frames(pipe):
        return "it begins with a picture"
    if family.patch(denoiser)[0] != 1 or not _is_by_frame(pipe):
        return "its pipeline takes noise in another form than frame by frame"
    return ""


def share_noise(pipe: Pipeline, plan: LatentPlan, size: Arguments, seed: int) -> Tensor:
    """Draw the noise of a film, every shot of which begins with that of the longest one.

    Returns latents as the pipeline takes them: (1, channels, frames, height, width), or frames before channels. The
    noise of the longest shot is what the pipeline draws itself from this seed, where it draws in float32.
    """
    import torch

    family = find(pipe)
    scale = family.spatial_scale(pipe)
    shape = [1, family.first_denoiser(pipe).config.in_channels]
    shape.insert(family.frame_axis, plan.num_frames)
    shape += [int(size[side]) // scale for side in ("height", "width")]
    noise = torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed))
    shots = list(pairwise((0, *plan.cuts, plan.num_frames)))
    longest = max(shots, key=lambda shot: shot[1] - shot[0])
    source = noise.narrow(family.frame_axis, longest[0], longest[1] - longest[0]).clone()
    for start, stop in shots:
        noise.narrow(family.frame_axis, start, stop - start).copy_(
            source.narrow(family.frame_axis, 0, stop - start)
        )
    return noise


def _is_by_frame(pipe: Pipeline) -> bool:
    """Whether the network is given a video of five dimensions, and no row of tokens."""
    family = find(pipe)
    packs = hasattr(pipe, "_pack_latents")
    return family.frame_axis in (1, 2) and not packs
