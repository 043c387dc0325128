"""`attnscope probe`: look at a model's attention while it makes videos, or while it looks at one."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from attnscope._types import Crop
from attnscope.cli._options import AsJson, Finite, NumFrames, Pixels, Seed, Steps
from attnscope.cli._output import print_json, progress_bar
from attnscope.cli._report import report_probe
from attnscope.dataset import render, sample_scene
from attnscope.errors import InputError, PromptFileError, ShotPlanError, VideoError, quote
from attnscope.probing.share import Share
from attnscope.ranges import parse_range
from attnscope.shots import ShotPlan
from attnscope.shots.text import parse_spec
from attnscope.storage import Store
from attnscope.video.files import DEFAULT_SIGMAS, Footage, fps_of, read_frames, read_video, write_video

if TYPE_CHECKING:
    import xarray as xr

DEMO_SEED = 20
"""Seed of the drawn film that is looked at when neither prompt nor video is given."""


def probe_command(
    *,
    model: str = "wan-mini",
    prompt: str | None = None,
    prompts: Path | None = None,
    video: Path | None = None,
    shots: str | None = None,
    layers: str = "all",
    heads: str = "all",
    steps: str = "all",
    branch: str = "cond",
    seed: Seed = 0,
    out: Path | None = None,
    sigmas: str | None = None,
    crop: str | None = None,
    num_inference_steps: Steps | None = None,
    num_frames: NumFrames | None = None,
    height: Pixels | None = None,
    width: Pixels | None = None,
    guidance_scale: Finite | None = None,
    as_json: AsJson = False,
) -> None:
    """Record which frames look at which, and measure it against the shots.

    With --prompt or --prompts the model makes videos and is watched. With --video it looks at a video that exists,
    at several noise levels. With neither it looks at a drawn film of three shots whose cuts are known. Writes a
    store, pictures and summary.json to --out; the same command resumes after being killed. Started several times by
    torchrun or `attnscope submit`, it splits --prompts among the processes, which fill one store.

    Parameters
    ----------
    model
        An embedded model, a diffusers folder, or a hub model owner/name.
    prompt
        One prompt. "Two shots: a dog; Shot 1: [0s, 1.5s] ...; Shot 2: [1.5s, 3s] ..." carries its own shots.
    prompts
        A text file, one prompt a line; empty lines and lines that begin with # are skipped.
    video
        A video file to look at instead of making one.
    shots
        The shots to measure against: "0-1.5s,1.5-3s", or in frames "0-24f,24-49f".
    layers
        Layer labels from 1, as in "7-28", "-6:", "all".
    heads
        Heads from 0.
    steps
        Denoising steps from 0; with a video, noise levels from 0 (the highest).
    branch
        Guidance branch: cond, uncond or cond,uncond.
    seed
        Seed of the first run; run i uses seed + i.
    out
        Folder for the results; by default one below runs/ that is named after the model and the request.
    sigmas
        Noise levels for a video, as in "0.9,0.5,0.1".
    crop
        Shares of a video's picture to cut off first: top,right,bottom,left.
    num_inference_steps
        Denoising steps the pipeline takes; its own default otherwise.
    num_frames
        Frames of the video; its own default otherwise, or what the shots say.
    height
        Picture height in pixels.
    width
        Picture width in pixels.
    guidance_scale
        Strength of the prompt; its own default otherwise.
    """
    given: dict[str, Any] = {
        "num_inference_steps": num_inference_steps, "num_frames": num_frames, "height": height, "width": width,
        "guidance_scale": guidance_scale,
    }  # fmt: skip
    pipeline = {name: value for name, value in given.items() if value is not None}
    texts = _read_prompts(prompt, prompts, video)
    share = _share(prompts)
    _check_early(texts, video, shots, branch)
    _require_relevant(texts, video, {"--sigmas": sigmas, "--crop": crop, **pipeline})
    levels: tuple[float, ...] = DEFAULT_SIGMAS if sigmas is None else _numbers(sigmas, "--sigmas")
    border = _crop("0,0,0,0" if crop is None else crop)
    asked = [model, texts, str(video), shots, layers, heads, steps, branch, seed, levels, border, pipeline]
    folder = out or Path("runs") / f"{Path(model).name}-{_digest(asked)}"
    film = found = asked_s = None
    from attnscope import models
    from attnscope.probing.probe import probe_video

    pipe = models.load(model)
    ranges: dict[str, Any] = {"layers": layers, "heads": heads}
    if texts:
        options = {"branch": branch, "seed": seed, "steps": steps, **ranges, **pipeline}
        dataset = _watch(pipe, texts, shots, folder, share, options)
        if share.count > 1:
            return _say_share(folder, share, as_json)
        film = read_frames(_video(folder, 0))[dataset.query_start_frame.values]
        found = _found_cuts(folder, len(texts))
    else:
        footage = _footage(pipe, video, shots, seed, border, pipeline)
        chosen = parse_range(steps, range(len(levels)), name="steps")
        with progress_bar("probing") as on_step:
            dataset = probe_video(
                pipe, footage.frames, prompt=footage.caption, shots=footage.plan, seed=seed, on_step=on_step,
                out=folder / "attention.zarr", sigmas=[sorted(levels, reverse=True)[step] for step in chosen], **ranges,
            )  # fmt: skip
        film, asked_s = footage.frames[dataset.query_start_frame.values], footage.cuts_s
    if asked_s is None and shots is not None:
        asked_s = _asked_s(shots, fps_of(pipe))
    report_probe(model, dataset, folder, as_json=as_json, film=film, found=found, asked_s=asked_s)


def _watch(
    pipe: Any, texts: tuple[str, ...], shots: str | None, folder: Path, share: Share, options: dict[str, Any]
) -> xr.Dataset:
    """Make a video of each prompt and watch; keeps the videos."""
    from attnscope.probing.probe import probe as watch

    plan = None if shots is None else ShotPlan.from_spec(shots, fps=fps_of(pipe))
    videos = [_video(folder, index) for index in range(len(texts))]
    # a video that is there already was made by the same request, which the store has checked
    there = all(videos[index].is_file() for index in share.of(range(len(texts))))
    keep = None if there else _keep(videos, fps_of(pipe))
    with progress_bar("probing") as on_step:
        return watch(
            pipe, texts, shots=plan, out=folder / "attention.zarr", share=(share.index, share.count),
            on_step=on_step, on_video=keep, **options,
        )  # fmt: skip


def _found_cuts(folder: Path, num_videos: int) -> list[list[int]]:
    """Look where each video is cut, in video frames: it need not be where the prompt asked for it."""
    from attnscope.intervening.cut_check import check_cuts

    videos = (read_frames(_video(folder, index)) for index in range(num_videos))
    return [list(check_cuts((), frames).found_frame) for frames in videos]


def _video(folder: Path, index: int) -> Path:
    return folder / f"video-{index:03d}.mp4"


def _share(prompts: Path | None) -> Share:
    """Find out which part of the prompts is this process's, refusing what cannot be split."""
    share = Share.from_environment()
    if share.count > 1 and prompts is None:
        raise InputError(
            expected=f"--prompts, which {share.count} processes can share",
            got=f"a single run and WORLD_SIZE={share.count}",
            where="on the command line",
            remedy="give --prompts, or start one process",
        )
    return share


def _say_share(folder: Path, share: Share, as_json: bool) -> None:
    """Say how far the processes have come together. The report is made by one process, when all is there."""
    done, total = Store.open(folder / "attention.zarr").progress()
    if as_json:
        return print_json({"store": str(folder / "attention.zarr"), "share": [share.index, share.count],
                           "steps_done": done, "steps": total})  # fmt: skip
    print(f"share {share.index} of {share.count} is done; of all shares, {done} of {total} steps are")
    print(
        f"store     {folder / 'attention.zarr'}; the same command in one process reports on it when all are done"
    )


def _keep(videos: list[Path], fps: Fraction) -> Callable[[int, Any], None]:
    """Return what saves the video of a run, whole or not at all."""

    def save(index: int, frames: Any) -> None:
        part = videos[index].with_suffix(".partial.mp4")
        write_video(part, np.round(255 * np.clip(frames, 0, 1)).astype(np.uint8), fps)
        part.replace(videos[index])

    return save


@dataclass(frozen=True)
class _Footage:
    """A video to look at: its frames, its shots where known, and what the model is told about it."""

    frames: Any
    plan: ShotPlan | None
    caption: str
    cuts_s: list[float] | None = None


def _footage(
    pipe: Any, video: Path | None, shots: str | None, seed: int, crop: Crop, pipeline: dict[str, Any]
) -> _Footage:
    """Read the video file, or draw the film of the demonstration."""
    size = {"height": pipeline.get("height", 64), "width": pipeline.get("width", 64)}
    fps = fps_of(pipe)
    if video is not None:
        most = pipeline.get("num_frames", 81)
        _require_size(pipe, num_frames=most, **size)
        taken = read_video(video, fps=fps, max_frames=most, crop=crop, **size)
        if shots is None:
            return _Footage(taken.frames, None, "")
        return _Footage(taken.frames, _plan_of(taken, shots), "", _asked_s(shots, taken.source_fps))
    plan = None if shots is None else ShotPlan.from_spec(shots, fps=fps)
    num_frames = pipeline.get("num_frames", 49 if plan is None else plan.num_frames)
    if plan is not None and plan.num_frames != num_frames:
        raise ShotPlanError(
            expected=f"as many frames as the shots have, {plan.num_frames}",
            got=f"{num_frames}",
            where="as --num-frames",
            remedy="leave it out or change the shots",
        )
    _require_size(pipe, num_frames=num_frames, **size)
    scene = sample_scene(DEMO_SEED + seed, num_shots=3, num_frames=num_frames, plan=plan, fps=fps)
    return _Footage(render(scene, **size), scene.plan, scene.caption("none"))


def _require_size(pipe: Any, **size: int) -> None:
    """Refuse a size before anything of that size is drawn or decoded."""
    from attnscope import families

    families.find(pipe).require_size(pipe, **size)


def _plan_of(taken: Footage, shots: str) -> ShotPlan:
    """Bring shots that are given on the clock of the file to the frames that were taken from it."""
    given = ShotPlan.from_spec(shots, fps=taken.source_fps)
    if abs(given.num_frames - taken.num_source_frames) > max(Fraction(4), taken.source_fps / 2):
        raise ShotPlanError(
            expected=f"shots over the whole video, {float(taken.num_source_frames / taken.source_fps):.2f} s",
            got=f"{float(given.duration_s):.2f} s",
            where="as --shots",
            remedy="give every shot up to the end",
        )
    cuts = tuple(taken.at(cut) for cut in given.cuts_frame)
    return ShotPlan.from_frames(cuts, num_frames=len(taken.frames), fps=taken.fps)


def _asked_s(shots: str, fps: Fraction) -> list[float]:
    """The cuts as they were asked for, in seconds, before they fell on a frame."""
    spans, unit = parse_spec(shots)
    return [float(start if unit == "s" else start / fps) for start, _ in spans[1:]]


def _check_early(texts: tuple[str, ...], video: Path | None, shots: str | None, branch: str) -> None:
    """Refuse what can be refused before anything heavy is imported."""
    if video is not None and not os.path.isfile(video):
        raise VideoError(
            expected="a video file",
            got=f"{str(video)!r}, which is no file",
            where="as --video",
            remedy="check the path",
        )
    if not texts and branch != "cond":
        raise InputError(
            expected="branch cond where a video is looked at",
            got=f"{branch!r}",
            where="as --branch",
            remedy="guidance exists only where a video is made, give a --prompt",
        )
    if shots is not None and video is None:
        ShotPlan.from_spec(shots, fps=16)


def _require_relevant(texts: tuple[str, ...], video: Path | None, options: dict[str, Any]) -> None:
    """Refuse options that would do nothing: they are a misunderstanding."""
    if texts:
        idle, there = ["--sigmas", "--crop"], "with --video"
    else:
        idle, there = ["num_inference_steps", "guidance_scale"], "with --prompt"
        idle += ["--crop"] if video is None else []
    for name in idle:
        if options.get(name) is not None:
            option = f"--{name.lstrip('-').replace('_', '-')}"
            where = "with --video" if option == "--crop" else there
            raise InputError(
                expected=f"{option} {where} only",
                got=f"{quote(options[name])} where it would do nothing",
                where="in this probe",
                remedy="leave it out",
            )


def _read_prompts(prompt: str | None, prompts: Path | None, video: Path | None) -> tuple[str, ...]:
    given = [
        name
        for name, value in (("--prompt", prompt), ("--prompts", prompts), ("--video", video))
        if value is not None
    ]
    if len(given) > 1:
        raise InputError(
            expected="one of --prompt, --prompts, --video",
            got=f"{' and '.join(given)}",
            where="on the command line",
            remedy="leave one",
        )
    if prompts is None:
        return () if prompt is None else (prompt,)
    try:
        # -sig: some editors put a byte order mark in front, which is no part of the first prompt
        lines = prompts.read_text(encoding="utf-8-sig").splitlines()
        if any("\0" in line for line in lines):
            raise OSError("it holds zero bytes, so it is no text")
    except (OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise PromptFileError(
            expected="a text file with a prompt on each line",
            got=f"{str(prompts)!r} ({reason})",
            where="as --prompts",
            remedy="check it",
        ) from error
    texts = tuple(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
    if not texts:
        raise PromptFileError(
            expected="at least one prompt",
            got="none",
            where=f"in {str(prompts)!r}",
            remedy="write one on a line",
        )
    return texts


def _numbers(text: str, name: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(
            expected="numbers with commas between",
            got=f"{text!r}",
            where=f"as {name}",
            remedy="write 0.9,0.5",
        ) from error


def _crop(text: str) -> Crop:
    shares = _numbers(text, "--crop")
    good = len(shares) == 4 and all(0 <= share < 1 for share in shares)
    if not good or shares[0] + shares[2] >= 1 or shares[1] + shares[3] >= 1:
        raise InputError(
            expected="four shares top,right,bottom,left that leave a picture",
            got=f"{text!r}",
            where="as --crop",
            remedy="write 0.13,0.04,0.04,0.04",
        )
    return (shares[0], shares[1], shares[2], shares[3])


def _digest(asked: list[Any]) -> str:
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:8]
