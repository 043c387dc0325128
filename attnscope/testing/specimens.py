"""What a family proves itself with: a tiny random model, and the settings of a small run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from attnscope._types import Arguments
from attnscope.families.base import Family
from attnscope.families.protocols import Denoiser, Pipeline
from attnscope.hooks import Attachment, Record, run_with_cache, run_with_hooks
from attnscope.hooks.points import Hook, NameFilter

Guidance = tuple[tuple[Arguments, tuple[str, ...]], ...]
"""Changes to a run, each with the branches that then run, in their order."""

BOTH = ("cond", "uncond")
# What to change in a run, and which branches then run in which order: guidance on, off, two videos at once.
ONE_AFTER_THE_OTHER: Guidance = (
    ({}, BOTH),
    ({"guidance_scale": 1.0}, BOTH[:1]),
    ({"num_videos_per_prompt": 2}, BOTH),
)
IN_ONE_CALL = tuple((changes, tuple(reversed(branches))) for changes, branches in ONE_AFTER_THE_OTHER)
# Models distilled for guidance run one branch, and a second one only for true guidance.
DISTILLED: Guidance = (
    ({}, BOTH[:1]),
    ({"true_cfg_scale": 3.0, "negative_prompt": "a dog"}, BOTH),
    ({"num_videos_per_prompt": 2}, BOTH[:1]),
)
# Pipelines that make one video a prompt, whatever they are told, are given two prompts.
TWO_PROMPTS = ({"prompt": ["a cat", "a red ball"]}, tuple(reversed(BOTH)))


def hide_nothing(query_frame: int, key_frame: int) -> bool:
    """Hide no frame from any frame."""
    return False


@dataclass(frozen=True)
class Specimen:
    """A family and the tiny random model it proves itself on.

    `build` makes the pipeline, `settings` are the arguments of one small run that returns latents, `num_steps`
    how many steps that is, `guidance` which branches run under which settings, `lora_targets` which linear layers a
    LoRA goes to, `one_by_one` whether the model attends to one video of a batch after another, `hides` whether the
    model itself hides a key frame from a query frame, `own_bias` what its attention over time (the module, and so many
    frames) adds to the scores by itself, `draws_globally` whether the pipeline draws noise from PyTorch's own
    generator, beside the one it is given.
    """

    family: Family
    build: Callable[[], Pipeline]
    settings: Arguments
    num_steps: int = 2
    guidance: Guidance = ONE_AFTER_THE_OTHER
    lora_targets: tuple[str, ...] = ("to_q", "to_k", "to_v")
    one_by_one: bool = False
    hides: Callable[[int, int], bool] = hide_nothing
    own_bias: Callable[[nn.Module, int], Tensor] | None = None
    draws_globally: bool = False

    def run(self, pipe: Pipeline, **changes: object) -> Tensor:
        """Run the pipeline with its small settings and a fixed seed; return the latents."""
        return self.latents(pipe(**self.arguments(changes)))

    def run_with_hooks(
        self, attachment: Attachment, hooks: Sequence[tuple[NameFilter, Hook]], **changes: object
    ) -> Tensor:
        """Run the pipeline with listeners at hook points."""
        return self.latents(run_with_hooks(attachment, fwd_hooks=hooks, **self.arguments(changes)))

    def run_with_cache(
        self, pipe: Pipeline, names: NameFilter, **changes: object
    ) -> tuple[Tensor, dict[str, list[Record]]]:
        """Run with a cache of the hook points named."""
        result, cache = run_with_cache(pipe, names_filter=names, **self.arguments(changes))
        return self.latents(result), cache

    def arguments(self, changes: Arguments) -> dict[str, Any]:
        """The arguments of a small run; called for each run, so that all of them draw the same."""
        if self.draws_globally:
            torch.manual_seed(7)
        return {**self.settings, "generator": torch.Generator().manual_seed(7), **changes}

    def latents(self, result: Any) -> Tensor:
        """The latent video a pipeline returned."""
        video: Tensor = result.frames if hasattr(result, "frames") else result[0]
        return video

    def denoiser_call(self, pipe: Pipeline) -> tuple[Denoiser, Arguments]:
        """Return a denoiser and what the pipeline calls it with, to run it once outside the pipeline."""
        denoiser = self.family.first_denoiser(pipe)
        seen: list[Arguments] = []

        def note(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
            seen.append(name_arguments(module, args, kwargs))

        remove = denoiser.register_forward_pre_hook(note, with_kwargs=True).remove
        self.run(pipe)
        remove()
        return denoiser, seen[0]


def name_arguments(
    module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
) -> dict[str, object]:
    """Name what a module was called with."""
    names = list(inspect.signature(type(module).forward).parameters)[1:]
    return dict(zip(names, args, strict=False)) | kwargs
