"""What a store is about, settled from what was asked before the first forward pass."""

from __future__ import annotations

from attnscope._types import Arguments
from attnscope.families import Family
from attnscope.families.base import num_heads_of
from attnscope.families.protocols import Pipeline
from attnscope.hooks import find_attachment
from attnscope.probing.provenance import describe_run
from attnscope.probing.requests import ProbeRequest
from attnscope.ranges import parse_range
from attnscope.storage import StoreHeader


def header_of(pipe: Pipeline, family: Family, request: ProbeRequest, settings: Arguments) -> StoreHeader:
    """Read the ranges that were asked for on this model, and say what is recorded and where it came from.

    `settings` are what the run is made with: they are part of what it is.

    Raises
    ------
    InputError
        Layers, heads or steps that are not there, or plans that the latent grid cannot hold.
    """
    denoiser = family.first_denoiser(pipe)
    sites = {site.layer: site for site in family.sites(denoiser) if site.kind == "self"}
    layers = parse_range(request.layers, tuple(sites), name="layers")
    num_heads = min(num_heads_of(denoiser.get_submodule(sites[layer].module)) for layer in layers)
    num_frames = family.num_latent_frames(pipe, request.num_frames)
    size = (num_frames, request.height, request.width)
    expected = family.expected_layout(pipe, num_frames=num_frames, height=size[1], width=size[2])
    stride = family.temporal_stride(pipe)
    return StoreHeader(
        prompts=request.prompts,
        seeds=tuple(request.seed + index for index in range(len(request.prompts))),
        num_steps=request.num_steps,
        steps=parse_range(request.steps, range(request.num_steps), name="steps"),
        branches=request.branches,
        layers=layers,
        modules=tuple(sites[layer].module for layer in layers),
        stages=tuple(sites[layer].stage for layer in layers),
        heads=parse_range(request.heads, range(num_heads), name="heads"),
        plans=tuple(None if plan is None else plan.to_latent(stride) for plan in request.plans),
        num_frames=num_frames,
        stride=stride,
        fps=next((plan.fps for plan in request.plans if plan), request.fps),
        has_text_mass=bool(expected.text_segments),
        attrs=describe_run(pipe, family, {**settings, **_changes(pipe)}, size=size),
    )


def _changes(pipe: Pipeline) -> dict[str, list[str]]:
    """What an intervention does to the model while it is looked at: two runs that differ in it are not the same."""
    attachment = find_attachment(pipe)
    return {"interventions": list(attachment.changes)} if attachment and attachment.changes else {}
