"""What made a dataset: model, versions, scheduler, arguments. No times of day, so that equal runs are equal."""

from __future__ import annotations

import importlib.metadata
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attnscope._types import Arguments, Document
from attnscope.families import Family
from attnscope.families.protocols import Pipeline
from attnscope.hooks import describe_way
from attnscope.models import choice_of
from attnscope.models.finding import name_of_loaded
from attnscope.probing.plain import plain

_PACKAGES = ("attnscope", "torch", "diffusers", "transformers")


def describe_run(
    pipe: Pipeline, family: Family, settings: Arguments, *, size: tuple[int, int, int]
) -> Document:
    """List everything a reader needs to repeat a run, as JSON.

    ``size`` is the number of latent frames, and height and width in pixels.
    """
    denoiser = family.first_denoiser(pipe)
    parameter = next(denoiser.parameters())
    scheduler = getattr(pipe, "scheduler", None)
    return {
        "reading": family.reading,
        "family": family.name,
        "given_frames": list(family.given_frames(pipe)),
        "model": _name(name_of_loaded(pipe, denoiser)) or type(pipe).__name__,
        "revision": _revision(denoiser),
        "model_class": type(pipe).__name__,
        "denoiser_config": _public(dict(getattr(denoiser, "config", {}))),
        "dtype": str(parameter.dtype).removeprefix("torch."),
        "device": parameter.device.type,
        "frame_mass": _way(pipe, family, size),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "scheduler": type(scheduler).__name__,
        "scheduler_config": _public(dict(getattr(scheduler, "config", {}))),
        **_public(loading_record(pipe)),
        **_public(settings),
    }


def loading_record(pipe: Pipeline) -> Document:
    """How it was loaded, where that was not as usual."""
    choice = choice_of(pipe)
    return {"loading": record} if choice is not None and (record := choice.record()) else {}


def _way(pipe: Pipeline, family: Family, size: tuple[int, int, int]) -> str:
    denoiser, (num_frames, height, width) = family.first_denoiser(pipe), size
    parameter = next(denoiser.parameters())
    layout = family.expected_layout(pipe, num_frames=num_frames, height=height, width=width)
    site = next(site for site in family.sites(denoiser) if site.kind == "self")
    attention: Any = denoiser.get_submodule(site.module)
    return describe_way(
        layout,
        head_size=attention.to_q.out_features // attention.heads,
        device=parameter.device,
        dtype=parameter.dtype,
    )


def _public(settings: Mapping[str, object]) -> Document:
    """Settings as JSON holds them, without those that diffusers keeps for itself."""
    return {str(name): plain(item) for name, item in settings.items() if not str(name).startswith("_")}


def _name(model: str) -> str:
    """The name of a model without where it lies: several machines may fill one store, each with folders of its own."""
    return Path(model).name if os.path.isdir(model) else model


def _revision(denoiser: object) -> str:
    """The commit of a model that came from a hub, where the folder that it was loaded from says it."""
    config = dict(getattr(denoiser, "config", {}))
    found = re.search(r"/snapshots/([0-9a-f]{40})", str(config.get("_name_or_path") or ""))
    return found[1] if found else str(config.get("_commit_hash") or "")
