"""What made a dataset: model, versions, scheduler, arguments. No times of day, so that equal runs are equal."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Mapping
from typing import Any

from attnscope.families import Family
from attnscope.hooks import describe_way
from attnscope.probing.plain import plain

_PACKAGES = ("attnscope", "torch", "diffusers", "transformers")


def describe_run(
    pipe: Any, family: Family, settings: Mapping[str, Any], *, size: tuple[int, int, int]
) -> dict[str, Any]:
    """List everything a reader needs to repeat a run, as JSON.

    ``size`` is the number of latent frames, and height and width in pixels.
    """
    denoiser = next(iter(family.denoisers(pipe).values()))
    parameter: Any = next(denoiser.parameters())
    scheduler = getattr(pipe, "scheduler", None)
    return {
        "reading": family.reading,
        "family": family.name,
        "given_frames": list(family.given_frames(pipe)),
        "model": str(getattr(denoiser, "name_or_path", "") or type(pipe).__name__).rsplit("/weights/", 1)[-1],
        "revision": _revision(denoiser),
        "model_class": type(pipe).__name__,
        "denoiser_config": _public(dict(getattr(denoiser, "config", {}))),
        "dtype": str(parameter.dtype).removeprefix("torch."),
        "device": parameter.device.type,
        "frame_mass": _way(pipe, family, denoiser, parameter, size),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "scheduler": type(scheduler).__name__,
        "scheduler_config": _public(dict(getattr(scheduler, "config", {}))),
        **_public(settings),
    }


def _way(pipe: Any, family: Family, denoiser: Any, parameter: Any, size: tuple[int, int, int]) -> str:
    num_frames, height, width = size
    layout = family.expected_layout(pipe, num_frames=num_frames, height=height, width=width)
    site = next(site for site in family.sites(denoiser) if site.kind == "self")
    attention: Any = denoiser.get_submodule(site.module)
    return describe_way(
        layout,
        head_size=attention.to_q.out_features // attention.heads,
        device=parameter.device,
        dtype=parameter.dtype,
    )


def _public(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON holds them, without those that diffusers keeps for itself."""
    return {str(name): plain(item) for name, item in settings.items() if not str(name).startswith("_")}


def _revision(denoiser: Any) -> str:
    """The commit of a model that came from a hub, where the folder that it was loaded from says it."""
    found = re.search(r"/snapshots/([0-9a-f]{40})", str(getattr(denoiser, "name_or_path", "") or ""))
    return found[1] if found else str(dict(getattr(denoiser, "config", {})).get("_commit_hash") or "")
