"""Look at a model's attention: while it makes videos from prompts, or while it looks at videos that exist."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from fractions import Fraction
from typing import Any

import xarray as xr

from attnscope._types import OnProgress, Plans, Range
from attnscope.checks import require_seed
from attnscope.families import Family, find
from attnscope.families.calling import fill_defaults, rename_for_pipeline, require_runnable, require_size
from attnscope.families.rehearsing import rehearse
from attnscope.hooks import attached_to, join_or_attach
from attnscope.probing.provenance import describe_run
from attnscope.probing.recording import Recorder, missing_steps, open_sink
from attnscope.probing.requests import (
    branches_of,
    plans_of,
    repeat_plans,
    repeat_prompt,
    require_prompts,
    require_share,
    require_sigmas,
    require_videos,
)
from attnscope.probing.share import WHOLE, Share
from attnscope.ranges import parse_range
from attnscope.shots import LatentPlan, ShotPlan
from attnscope.storage import Store, StoreHeader
from attnscope.video.files import DEFAULT_SIGMAS, fps_of


def probe(
    pipe: Any,
    prompt: str | Sequence[str],
    *,
    shots: Plans = None,
    layers: Range = "all",
    heads: Range = "all",
    steps: Range = "all",
    branch: str = "cond",
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    share: tuple[int, int] = (0, 1),
    on_step: OnProgress | None = None,
    on_video: Callable[[int, Any], None] | None = None,
    **arguments: Any,
) -> xr.Dataset:
    """Watch which frames look at which while a model makes a video.

    The pipeline runs as it always does; beside it, the exact attention probability that every latent frame gives
    to every latent frame is recorded. The video is bit for bit the one that it makes unwatched. Inside
    :func:`attnscope.intervene` the changed attention is what is recorded, and the record says what was changed.

    Parameters
    ----------
    pipe
        A loaded diffusers video pipeline of a supported family, e.g. from :func:`attnscope.load`.
    prompt : str or sequence of str
        One run each; run i uses the seed ``seed + i``.
    shots : ShotPlan, sequence of ShotPlan, optional
        The shots that the statistics shall compare with; also sets the number of frames. Without it a prompt that
        says its shots with times ("...; Shot 1: [0s, 1.5s] ...") is its own plan. Nothing is forced on the model.
    layers, heads, steps : range
        Which to record: "7-28", "-6:", "all", numbers. Layers are labels from 1, heads and steps count from 0.
    branch : str
        Guidance branch, "cond" or "uncond", or both as "cond,uncond".
    out : path, optional
        A store on disk: written step by step, survives being killed, resumed by the same call.
    share : (int, int)
        This process's part of the prompts, (index, count): every ``count``-th, beginning with ``index``. Processes
        that are given the same request and different shares fill one store, on one machine or on many that share
        ``out``; what the others have not done yet is NaN in what is returned.
    on_step : callable, optional
        Called as ``on_step(done, total)`` before the first and after every recorded step, for a progress bar.
    on_video : callable, optional
        Called as ``on_video(run, frames)`` with the decoded video; without it nothing is decoded.
    **arguments
        Go to the pipeline: ``num_inference_steps``, ``height``, ``num_frames``, ``guidance_scale``, ...

    Returns
    -------
    xarray.Dataset
        ``mass`` on (prompt, step, branch, layer, head, query_frame, key_frame), see :mod:`attnscope.schema`.

    Raises
    ------
    InputError
        A range, a plan, a branch or a prompt is not usable, or the model family is unknown; nothing was run.
    StoreError
        ``out`` holds something else.
    RunError
        The pipeline did not run what was asked for.

    Notes
    -----
    The mass is that of the joint softmax over all tokens of the video, summed over the tokens of a key frame and
    averaged over the tokens of a query frame; its rows sum to 1 (CineTrans, ICLR 2026, plots the same quantity
    divided by the number of tokens of a frame).

    Examples
    --------
    >>> from attnscope import load
    >>> pipe = load("wan-mini")
    >>> attention = probe(pipe, "One shot: a red ball", layers="7-28", num_frames=17, num_inference_steps=2)
    >>> dict(attention.sizes)["layer"], dict(attention.sizes)["query_frame"]
    (22, 5)
    """
    family = find(pipe)
    prompts = require_prompts(prompt, has_embeds=arguments.get("prompt_embeds") is not None)
    seed = require_seed(seed, "as seed of probe")
    part = require_share(share, out)
    asked_frames = arguments.get("num_frames")
    arguments = fill_defaults(pipe, family, arguments)
    plans = plans_of(prompts, shots, fps_of(pipe), arguments, asked_frames)
    fps = next((plan.fps for plan in plans if plan), fps_of(pipe))
    branches = branches_of(branch)
    require_runnable(arguments, branches)
    require_size(pipe, family, arguments)
    num_frames = family.num_latent_frames(pipe, int(arguments["num_frames"]))
    size = (num_frames, int(arguments["height"]), int(arguments["width"]))
    output = "latent" if on_video is None else "np"
    calls = [
        rename_for_pipeline(pipe, family, {"prompt": each, "output_type": output, **arguments})
        for each in prompts
    ]
    with _quiet(pipe):
        num_steps = rehearse(pipe, family, {**calls[0], **_noise(seed)})
    header = _header(
        pipe,
        family,
        prompts,
        plans,
        num_frames,
        fps,
        num_steps=num_steps,
        steps=parse_range(steps, range(num_steps), name="steps"),
        layers=layers,
        heads=heads,
        branches=branches,
        seed=seed,
        size=size[1:],
        attrs=describe_run(pipe, family, {"arguments": arguments, **_changes(pipe)}, size=size),
    )

    def run(index: int) -> None:
        result = pipe(**calls[index], **_noise(header.seeds[index]))
        if on_video is not None:
            on_video(index, result.frames[0])

    return _watch(pipe, header, run, out, on_step, always=on_video is not None, share=part)


def _noise(seed: int) -> dict[str, Any]:
    """What a pipeline draws its noise from."""
    import torch

    return {"generator": torch.Generator("cpu").manual_seed(seed)}


def probe_video(
    pipe: Any,
    video: Any,
    *,
    prompt: str | Sequence[str] = "",
    shots: Plans = None,
    sigmas: Sequence[float] = DEFAULT_SIGMAS,
    layers: Range = "all",
    heads: Range = "all",
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    on_step: OnProgress | None = None,
) -> xr.Dataset:
    """Watch which frames look at which while a model looks at a video that exists, whose cuts are known.

    The video is encoded, noise is added at each of ``sigmas``, and the model is run once on each: no generation.
    Step k of the result is the k-th noise level. All noise levels of a video use the same noise.

    Parameters
    ----------
    pipe
        As for :func:`probe`.
    video : array (frames, height, width, 3), or a sequence of such videos of one shape
        uint8, floats from 0 to 1, tensors or lists of pictures, see :func:`attnscope.video.arrays.as_frames`.
        4n + 1 frames; height and width must suit the model (multiples of 16 for Wan).
    prompt : str or sequence of str
        What the model is told about the video(s).
    shots : ShotPlan, sequence of ShotPlan, optional
        The true shots of the video(s).
    sigmas : sequence of float
        Noise levels in (0, 1], 1 being pure noise.
    layers, heads, seed, out, on_step
        As for :func:`probe`.

    Returns
    -------
    xarray.Dataset
        As for :func:`probe`, one run a video, branch ``cond``.

    Raises
    ------
    InputError
        The video has a wrong shape or number of frames, a noise level is out of range; nothing was run.

    Examples
    --------
    >>> from attnscope import load
    >>> from attnscope.dataset import render, sample_scene
    >>> scene = sample_scene(5, num_shots=2, num_frames=17)
    >>> attention = probe_video(load("wan-mini"), render(scene), shots=scene.plan, sigmas=[0.5], layers=10)
    >>> attention.sigma.values.tolist(), int(attention.query_shot.max())
    ([0.5], 1)
    """
    family = find(pipe)
    videos = require_videos(video)
    require_size(pipe, family, dict(zip(("num_frames", "height", "width"), videos[0].shape[:3], strict=True)))
    seed = require_seed(seed, "as seed of probe_video")
    levels = require_sigmas(sigmas)
    prompts = repeat_prompt(prompt, len(videos))
    fps = fps_of(pipe)
    plans = repeat_plans(shots, len(videos), len(videos[0]))
    num_frames = family.num_latent_frames(pipe, len(videos[0]))
    height, width = videos[0].shape[1:3]
    header = _header(
        pipe,
        family,
        prompts,
        plans,
        num_frames,
        next((p.fps for p in plans if p), fps),
        num_steps=len(levels),
        steps=tuple(range(len(levels))),
        layers=layers,
        heads=heads,
        branches=("cond",),
        seed=seed,
        size=(height, width),
        attrs=describe_run(
            pipe,
            family,
            {"sigmas": list(levels), "size": [height, width], **_changes(pipe)},
            size=(num_frames, height, width),
        ),
    )

    def run(index: int) -> None:
        family.look_at(pipe, videos[index], prompts[index], levels, header.seeds[index])

    return _watch(pipe, header, run, out, on_step, always=False)


def _watch(
    pipe: Any,
    header: StoreHeader,
    run: Callable[[int], None],
    out: str | os.PathLike[str] | None,
    on_step: OnProgress | None,
    *,
    always: bool,
    share: Share = WHOLE,
) -> xr.Dataset:
    """Run every prompt that is not finished, recording its steps; ``always`` runs the finished ones too."""
    mine = share.of(range(len(header.prompts)))
    with join_or_attach(pipe) as attachment, _quiet(pipe):
        sink = open_sink(header, out, attachment.heads)
        total = len(mine) * len(header.steps)
        done = total - sum(len(missing_steps(header, sink, index)) for index in mine)

        def count(recorded: int = 1) -> None:
            nonlocal done
            done += recorded
            if on_step is not None:
                on_step(done, total)

        count(0)
        with closing(Recorder(attachment, header, sink, count)) as recorder:
            for index in mine:
                if always or missing_steps(header, sink, index):
                    recorder.begin(index)
                    run(index)
                    recorder.end()
        if isinstance(sink, Store):
            _finish(sink, share)
        if attachment.heads is not None:
            attachment.heads.broadcast([True], 1)  # the first process is done with the store
    return sink.dataset()


def _finish(store: Store, share: Share) -> None:
    """Close the store, if nobody else still has something to add."""
    store.refresh()
    done, total = store.progress()
    if share.count == 1 or done == total:
        store.finalise(alone=share.count == 1)


def _header(
    pipe: Any,
    family: Family,
    prompts: tuple[str, ...],
    plans: tuple[ShotPlan | None, ...],
    num_frames: int,
    fps: Fraction,
    *,
    num_steps: int,
    steps: tuple[int, ...],
    layers: Range,
    heads: Range,
    branches: tuple[str, ...],
    seed: int,
    size: tuple[int, int],
    attrs: Mapping[str, Any],
) -> StoreHeader:
    """Settle everything that is known before the first forward pass, refusing what cannot be done."""
    denoiser = family.first_denoiser(pipe)
    sites = {site.layer: site for site in family.sites(denoiser) if site.kind == "self"}
    labels = parse_range(layers, tuple(sites), name="layers")
    num_heads = min(int(_attention(denoiser, sites[label].module).heads) for label in labels)
    stride = family.temporal_stride(pipe)
    has_text = bool(
        family.expected_layout(pipe, num_frames=num_frames, height=size[0], width=size[1]).text_segments
    )
    latents: tuple[LatentPlan | None, ...] = tuple(
        None if plan is None else plan.to_latent(stride) for plan in plans
    )
    return StoreHeader(
        prompts=prompts,
        seeds=tuple(seed + i for i in range(len(prompts))),
        num_steps=num_steps,
        steps=steps,
        branches=branches,
        layers=labels,
        modules=tuple(sites[label].module for label in labels),
        stages=tuple(sites[label].stage for label in labels),
        heads=parse_range(heads, range(num_heads), name="heads"),
        plans=latents,
        num_frames=num_frames,
        stride=stride,
        fps=fps,
        has_text_mass=has_text,
        attrs=attrs,
    )


def _changes(pipe: Any) -> dict[str, list[str]]:
    """What an intervention does to the model while it is looked at: two runs that differ in it are not the same."""
    attachment = attached_to(pipe)
    return (
        {"interventions": list(attachment.changes)} if attachment is not None and attachment.changes else {}
    )


def _attention(denoiser: Any, module: str) -> Any:
    return denoiser.get_submodule(module)


@contextmanager
def _quiet(pipe: Any) -> Iterator[None]:
    """Hush the pipeline's own progress bar: one bar is enough."""
    before = dict(getattr(pipe, "_progress_bar_config", {}))
    pipe.set_progress_bar_config(**{**before, "disable": True})
    try:
        yield
    finally:
        pipe.set_progress_bar_config(**before)
