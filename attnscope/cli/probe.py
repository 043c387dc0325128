"""`attnscope probe`: look at a model's attention while it makes videos, or while it looks at one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from attnscope._types import Crop, Document
from attnscope.cli._clock import ANY_CLOCK, clock_of
from attnscope.cli._films import films_in, find_cuts, keep_made, keep_shown
from attnscope.cli._footage import Shown, draw_shown, list_places, read_shown, size_for
from attnscope.cli._lines import read_lines
from attnscope.cli._numbers import NumFrames, Seed
from attnscope.cli._options import (
    USUAL_LOADING,
    USUAL_SAMPLING,
    AsJson,
    Loading,
    OutIfAny,
    Sampling,
    frames_in,
)
from attnscope.cli._output import print_json
from attnscope.cli._report import report_probe
from attnscope.errors import InputError, quote
from attnscope.models.finding import usual_video
from attnscope.probing.share import Share
from attnscope.ranges import parse_range
from attnscope.shots import ShotPlan
from attnscope.shots.text import parse_spec
from attnscope.storage import STORE_NAME, Store
from attnscope.storage.disk import require_writable
from attnscope.video.files import DEFAULT_SIGMAS, fps_of, read_frames

if TYPE_CHECKING:
    import xarray as xr

    from attnscope.families.protocols import Pipeline
    from attnscope.metrics.scoring.manifests import Listed

NO_CROP = (0.0, 0.0, 0.0, 0.0)
_PROMPTS = ("a text file with a prompt on each line", "prompt", "--prompts")


def probe_command(
    *,
    loading: Loading = USUAL_LOADING,
    prompt: str | None = None,
    prompts: Path | None = None,
    video: Path | None = None,
    captions: Path | None = None,
    shots: str | None = None,
    layers: str = "all",
    heads: str = "all",
    steps: str = "all",
    branch: str = "cond",
    seed: Seed = 0,
    out: OutIfAny = None,
    sigmas: str | None = None,
    crop: str | None = None,
    num_frames: NumFrames | None = None,
    sampling: Sampling = USUAL_SAMPLING,
    as_json: AsJson = False,
) -> None:
    """Record which frames look at which, and measure it against the shots.

    With --prompt or --prompts the model makes videos and is watched. With --video it looks at videos that exist,
    at several noise levels. With neither it looks at a drawn film of three shots whose cuts are known. Writes a
    store, pictures and summary.json to --out; the same command resumes after being killed. Started several times by
    torchrun or `attnscope submit`, it splits --prompts among the processes, which fill one store.

    Parameters
    ----------
    prompt
        One prompt. "Two shots: a dog; Shot 1: [0s, 1.5s] ...; Shot 2: [1.5s, 3s] ..." carries its own shots.
    prompts
        A text file, one prompt a line; empty lines and lines that begin with # are skipped.
    video
        What to look at instead of making videos: a file, a folder of them, or a manifest (a CSV table as for score).
    captions
        A text file with what the model is told about the videos, one line for each; nothing by default.
    shots
        The shots to measure against: "0-1.5s,1.5-3s", or in frames "0-24f,24-49f". Those of a video are found where
        nobody gives them, by the detector that score uses.
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
    num_frames
        Frames of the video; its own default otherwise, or what the shots say.
    """
    texts = _read_prompts(prompt, prompts, video)
    share = _share(prompts)
    _check_early(texts, video, captions, shots, branch)
    frames = {} if num_frames is None else {"num_frames": num_frames}
    _require_relevant(texts, video, {"--sigmas": sigmas, "--crop": crop, **frames, **sampling.given})
    listed = None if video is None else list_places(video, captions)
    levels: tuple[float, ...] = DEFAULT_SIGMAS if sigmas is None else _numbers(sigmas, "--sigmas")
    border = None if crop is None else _crop(crop)
    asked = [texts, str(video), shots, layers, heads, steps, branch, seed, levels, border or NO_CROP]
    folder = out or _folder_of(loading, asked, {**sampling.given, **frames}, captions)
    require_writable(folder, "folder")
    arguments = {**sampling.arguments(), **frames}

    used = () if texts else parse_range(steps, range(len(levels)), name="steps")
    loading.require_layers(layers)
    pipe = loading.load({**(frames_in(shots) if texts else {}), **arguments})
    options = {"layers": layers, "heads": heads, "seed": seed}
    found, shown = None, None
    if texts:
        watching = {**options, "branch": branch, "steps": steps, **arguments}
        dataset = _watch(pipe, texts, shots, folder, share, watching)
        if share.count > 1:
            return _say_share(folder, share, as_json)
        films = films_in(folder, len(texts))
        frames_seen, found = read_frames(films[0]), find_cuts(films, pipe)
    else:
        shown = _show(pipe, loading, listed, arguments, (shots, border, num_frames, seed))
        looking = {**options, "sigmas": [sorted(levels, reverse=True)[step] for step in used]}
        dataset = _look(pipe, shown, folder, looking)
        films = films_in(folder, len(shown.frames))
        frames_seen = shown.frames[0]
    clock = fps_of(pipe) if shown is None else shown.source_fps or fps_of(pipe)
    facts = {
        "film": frames_seen[dataset.query_start_frame.values],
        "found": found,
        "films": films,
        "asked_s": None if shots is None else _cuts_s(shots, clock),
        "detector": None if shown is None else shown.detector,
    }
    report_probe(loading.model, dataset, folder, as_json=as_json, **facts)


def _cuts_s(shots: str, fps: Fraction) -> list[float]:
    """The cuts as they were asked for, in seconds, before they fell on a frame."""
    spans, unit = parse_spec(shots)
    return [float(start if unit == "s" else start / fps) for start, _ in spans[1:]]


def _folder_of(loading: Loading, asked: Sequence[object], pipeline: Document, captions: Path | None) -> Path:
    """The folder of a request that was given none: named after the model and what was asked for."""
    unusual = [loading.settings, str(captions)] if loading.settings or captions else []
    text = json.dumps([loading.model, *asked, pipeline, *unusual], sort_keys=True, default=str)
    name = Path(loading.model).name[:50]  # a name of a file has at most 255 bytes
    return Path("runs") / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _show(
    pipe: Pipeline,
    loading: Loading,
    listed: list[Listed] | None,
    arguments: Document,
    asked: tuple[str | None, Crop | None, int | None, int],
) -> Shown:
    """Read the videos that were listed, or draw the film of the demonstration."""
    shots, border, num_frames, seed = asked
    usual = usual_video(loading.model)
    size = size_for(pipe, arguments, usual)
    if listed is None:
        return draw_shown(pipe, shots, seed, num_frames, size, usual)
    return read_shown(pipe, listed, shots=shots, crop=border, num_frames=num_frames, size=size)


def _look(pipe: Pipeline, shown: Shown, folder: Path, options: Document) -> xr.Dataset:
    """Show the model videos, record how it looks at them, and keep them as it saw them."""
    from attnscope.probing.probe import probe_video
    from attnscope.probing.progress import progress_bar

    with progress_bar("probing") as on_step:
        dataset = probe_video(
            pipe,
            list(shown.frames),
            prompt=list(shown.captions),
            shots=list(shown.plans),
            out=folder / STORE_NAME,
            on_step=on_step,
            **options,
        )
    keep_shown(films_in(folder, len(shown.frames)), shown)
    return dataset


def _watch(
    pipe: Pipeline, texts: tuple[str, ...], shots: str | None, folder: Path, share: Share, options: Document
) -> xr.Dataset:
    """Make a video of each prompt and watch; keeps the videos."""
    from attnscope.probing.probe import probe as watch

    plan = None if shots is None else ShotPlan.from_spec(shots, **clock_of(pipe))
    films = films_in(folder, len(texts))
    # a film that is there already was made by the same request, which the store has checked
    there = all(films[index].is_file() for index in share.of(range(len(texts))))
    keep = None if there else keep_made(films, fps_of(pipe))
    from attnscope.probing.progress import progress_bar

    with progress_bar("probing") as on_step:
        return watch(
            pipe,
            texts,
            shots=plan,
            out=folder / STORE_NAME,
            share=(share.index, share.count),
            on_step=on_step,
            on_video=keep,
            **options,
        )


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
    done, total = Store.open(folder / STORE_NAME).progress()
    if as_json:
        store, part = str(folder / STORE_NAME), [share.index, share.count]
        return print_json({"store": store, "share": part, "steps_done": done, "steps": total})
    print(f"share {share.index} of {share.count} is done; of all shares, {done} of {total} steps are")
    print(f"store     {folder / STORE_NAME}; the same command in one process reports on it when all are done")


def _check_early(
    texts: tuple[str, ...], video: Path | None, captions: Path | None, shots: str | None, branch: str
) -> None:
    """Refuse what can be refused before anything heavy is imported."""
    if captions is not None and video is None:
        raise InputError(
            expected="--captions with --video only",
            got=f"{str(captions)!r} without",
            where="on the command line",
            remedy="leave it out, or write prompts",
        )
    if not texts and branch != "cond":
        raise InputError(
            expected="branch cond where a video is looked at",
            got=f"{branch!r}",
            where="as --branch",
            remedy="guidance exists only where a video is made, give a --prompt",
        )
    if shots is not None and video is None:
        ShotPlan.from_spec(shots, **ANY_CLOCK)


def _require_relevant(texts: tuple[str, ...], video: Path | None, options: Document) -> None:
    """Refuse options that would do nothing: they are a misunderstanding."""
    if texts:
        idle, there = ["--sigmas", "--crop"], "with --video"
    else:
        idle, there = (
            ["num_inference_steps", "guidance_scale", "negative_prompt", "prompt_embeds"],
            "with --prompt",
        )
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
    return read_lines(prompts, *_PROMPTS)


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
