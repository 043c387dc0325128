"""Look at a model's attention: while it makes videos from prompts, or while it looks at videos that exist."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import xarray as xr

from attnscope._types import Floats32, Frames, OnProgress, Plans, Range
from attnscope.checks import require_seed
from attnscope.families import find
from attnscope.families.calling import (
    fill_defaults,
    rename_for_pipeline,
    require_encoded,
    require_runnable,
    require_size,
)
from attnscope.families.dropping import find_dropped
from attnscope.families.protocols import LooksAtVideos, Pipeline, require
from attnscope.families.rehearsing import rehearse
from attnscope.families.seeding import seed_draws
from attnscope.hooks import join_or_attach
from attnscope.models.preparing import explain_memory
from attnscope.probing.header import header_of
from attnscope.probing.progress import hush_progress, progress_bar
from attnscope.probing.recording import Recorder, missing_steps, open_sink
from attnscope.probing.requests import (
    ProbeRequest,
    branches_of,
    plans_of,
    repeat_plans,
    repeat_prompt,
    require_prompts,
    require_share,
    require_sigmas,
    require_videos,
    size_of,
)
from attnscope.probing.share import WHOLE, Share
from attnscope.storage import Store, StoreHeader
from attnscope.video.files import DEFAULT_SIGMAS, fps_of

if TYPE_CHECKING:
    import torch


def probe(
    pipe: Pipeline,
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
    on_video: Callable[[int, Floats32], None] | None = None,
    progress: bool = True,
    **arguments: object,
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
        Called as ``on_step(done, total)`` before the first and after every recorded step, instead of a progress bar.
    on_video : callable, optional
        Called as ``on_video(run, frames)`` with the decoded video; without it nothing is decoded.
    progress : bool
        Whether a bar is shown, in a terminal or a notebook.
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
    branches = branches_of(branch)
    require_runnable(arguments, branches)
    require_size(pipe, family, arguments)
    output = "latent" if on_video is None else "np"
    calls = [
        rename_for_pipeline(pipe, family, {"prompt": each, "output_type": output, **arguments})
        for each in prompts
    ]
    with hush_progress(pipe):
        num_steps = rehearse(pipe, family, {**calls[0], **_noise(seed)})
        if find_dropped(pipe) is not None:  # all texts are encoded while the encoder is there
            for index in part.of(range(len(calls))):
                rehearse(pipe, family, {**calls[index], **_noise(seed)})
    request = ProbeRequest(
        prompts, plans, fps_of(pipe), num_steps, branches, layers, heads, steps, seed, *size_of(arguments)
    )
    header = header_of(pipe, family, request, {"arguments": arguments})

    def run(index: int) -> None:
        noise = _noise(header.seeds[index])
        with seed_draws(pipe, noise["generator"]):
            result = pipe(**calls[index], **noise)
        if on_video is not None:
            on_video(index, result.frames[0])

    with progress_bar("probing", shown=progress and on_step is None) as bar:
        return _watch(pipe, header, run, out, on_step or bar, always=on_video is not None, share=part)


def _noise(seed: int) -> dict[str, torch.Generator]:
    """What a pipeline draws its noise from."""
    import torch

    return {"generator": torch.Generator("cpu").manual_seed(seed)}


def probe_video(
    pipe: Pipeline,
    video: Frames | Sequence[Frames],
    *,
    prompt: str | Sequence[str] = "",
    shots: Plans = None,
    sigmas: Sequence[float] = DEFAULT_SIGMAS,
    layers: Range = "all",
    heads: Range = "all",
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    on_step: OnProgress | None = None,
    progress: bool = True,
    **encoded: object,
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
    layers, heads, seed, out, on_step, progress
        As for :func:`probe`.
    **encoded
        A text that is encoded already, by the pipeline's names: ``prompt_embeds`` and the masks and pooled embeddings
        that belong to them. The prompt is then its label, for all videos. Negative ones are taken and not used.

    Returns
    -------
    xarray.Dataset
        As for :func:`probe`, one run a video, branch ``cond``.

    Raises
    ------
    InputError
        The video has a wrong shape or number of frames, a noise level is out of range, embeddings are not such as the
        pipeline reads; nothing was run.

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
    looking = require(family, LooksAtVideos, pipe)
    videos = require_videos(video)
    size = videos[0].shape[:3]
    require_size(pipe, family, dict(zip(("num_frames", "height", "width"), size, strict=True)))
    seed = require_seed(seed, "as seed of probe_video")
    levels = require_sigmas(sigmas)
    require_encoded(pipe, family, encoded, 1 if isinstance(prompt, str) else len(prompt))
    prompts = repeat_prompt(prompt, len(videos))
    plans = repeat_plans(shots, len(videos), len(videos[0]))
    request = ProbeRequest(
        prompts, plans, fps_of(pipe), len(levels), ("cond",), layers, heads, "all", seed, *size
    )
    told = {"arguments": encoded} if encoded else {}
    header = header_of(pipe, family, request, {"sigmas": list(levels), "size": list(size[1:]), **told})

    def run(index: int) -> None:
        text = encoded or {"prompt": prompts[index]}
        looking.look_at(pipe, videos[index], text, levels, header.seeds[index])

    with progress_bar("probing", shown=progress and on_step is None) as bar:
        return _watch(pipe, header, run, out, on_step or bar, always=False)


def _watch(
    pipe: Pipeline,
    header: StoreHeader,
    run: Callable[[int], None],
    out: str | os.PathLike[str] | None,
    on_step: OnProgress,
    *,
    always: bool,
    share: Share = WHOLE,
) -> xr.Dataset:
    """Run every prompt that is not finished, recording its steps; ``always`` runs the finished ones too."""
    mine = share.of(range(len(header.prompts)))
    with join_or_attach(pipe) as attachment, hush_progress(pipe), explain_memory(pipe):
        sink = open_sink(header, out, attachment.heads)
        total = len(mine) * len(header.steps)
        done = total - sum(len(missing_steps(header, sink, index)) for index in mine)

        def count(recorded: int = 1) -> None:
            nonlocal done
            done += recorded
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
