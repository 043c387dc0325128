"""What is asked of a probe, checked before anything runs: prompts, plans, videos, sizes, steps, branches."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from attnscope._share import Share
from attnscope.errors import InputError, ShotPlanError, quote
from attnscope.families import Family
from attnscope.shots import ShotPlan

Plans = ShotPlan | None | Sequence[ShotPlan | None]

BRANCHES = ("cond", "uncond")

_SIZE = ("num_frames", "height", "width")
_OURS = ("prompt", "generator", "output_type")
_TIMED_SHOT = re.compile(r"\bshot\s*\d+\s*:\s*\[", re.IGNORECASE)


def require_prompts(prompt: str | Sequence[str]) -> tuple[str, ...]:
    prompts = (prompt,) if isinstance(prompt, str) else tuple(prompt)
    if not prompts:
        raise InputError("expected at least one prompt, got none in probe; give a text or several")
    return prompts


def require_share(share: tuple[int, int], out: object) -> Share:
    """Refuse to split prompts where the parts would never come together."""
    part = Share(*share)
    if part.count > 1 and out is None:
        raise InputError(
            f"expected a store that {part.count} processes fill together, got no out in probe; give them all one path"
        )
    return part


def settled(pipe: Any, family: Family, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in the pipeline's own defaults, so that the record says what ran; frames are `num_frames` in all models."""
    given = dict(arguments)
    for name in _OURS:
        if name in given:
            raise InputError(
                f"expected arguments without {name}, which attnscope sets itself, got {name}={quote(given[name])} for "
                f"a run of {type(pipe).__name__}; leave it out"
            )
    family.require_text_encoder(pipe, given)
    parameters = _parameters(pipe)
    if family.frames_argument in parameters:
        parameters["num_frames"] = parameters[family.frames_argument]
        if family.frames_argument in given:
            given["num_frames"] = given.pop(family.frames_argument)
    elif "video" in parameters:
        given.setdefault("num_frames", len(given.get("video") or ()))
        parameters["num_frames"] = parameters["video"]
    unknown = sorted(set(given) - set(parameters))
    if unknown:
        raise InputError(
            f"expected arguments of {type(pipe).__name__}, got {', '.join(unknown)} in probe; leave them out"
        )
    length = family.fixed_text_length(pipe)
    if length is not None and given.setdefault("max_sequence_length", length) != length:
        raise InputError(
            f"expected {length}, the only length of text that this {type(pipe).__name__} reads, got "
            f"{quote(given['max_sequence_length'])} as max_sequence_length; leave it out"
        )
    names = ("height", "width", "num_frames", "num_inference_steps", "guidance_scale", "strength")
    defaults = {name: parameters[name].default for name in names if name in parameters}
    known = {name: value for name, value in defaults.items() if value is not None}
    whole = {**family.default_size(pipe), **known, **given}
    for name in _SIZE:
        if whole.get(name) is None:
            raise InputError(
                f"expected {name}, which {type(pipe).__name__} has no default for, got none in probe; give {name}=..."
            )
    return whole


def _parameters(pipe: Any) -> dict[str, inspect.Parameter]:
    """What a pipeline can be called with, what it hands on to the pipeline that it is made from among it."""
    found: dict[str, inspect.Parameter] = {}
    for kind in type(pipe).__mro__:
        if "__call__" not in vars(kind):
            continue
        own = dict(inspect.signature(kind.__call__).parameters)
        handed_on = [name for name, each in own.items() if each.kind is inspect.Parameter.VAR_KEYWORD]
        found = {**own, **found}
        if not handed_on:
            break
        for name in handed_on:
            del found[name]
    return found


def as_called(pipe: Any, family: Family, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments under the names that the pipeline has for them; one that reads no text gets no prompt."""
    parameters = _parameters(pipe)
    called = {name: value for name, value in arguments.items() if name not in ("num_frames", "prompt")}
    if family.frames_argument in parameters:
        called[family.frames_argument] = arguments["num_frames"]
    if "prompt" in parameters and "prompt" in arguments:
        called["prompt"] = arguments["prompt"]
    return called


def require_runnable(arguments: Mapping[str, Any], branches: tuple[str, ...]) -> int:
    """Refuse steps and guidance with which nothing would run; returns the number of steps."""
    num_steps, guidance = int(arguments["num_inference_steps"]), float(arguments.get("guidance_scale", 1.0))
    if num_steps < 1:
        raise InputError(f"expected at least 1 step, got {num_steps} as num_inference_steps; write 20")
    if not math.isfinite(guidance):
        raise InputError(
            f"expected a finite number, got {guidance} as guidance_scale; write for instance 2.5"
        )
    if "uncond" in branches and "guidance_scale" in arguments and guidance <= 1:
        raise InputError(
            f"expected a guidance scale above 1 where the uncond branch is recorded, got {guidance:g} as "
            "guidance_scale; raise it or record cond alone"
        )
    # Of a video that is changed rather than made, the first steps are left out.
    share = float(arguments.get("strength", 1.0))
    return min(int(num_steps * share), num_steps) if share < 1 else num_steps


def require_size(pipe: Any, family: Family, size: Mapping[str, Any]) -> None:
    """Refuse videos of a size that the model cannot make."""
    family.require_size(pipe, **{name: int(size[name]) for name in _SIZE})


def plans_of(
    prompts: tuple[str, ...],
    shots: Plans,
    fps: Fraction,
    arguments: dict[str, Any],
    asked_frames: int | None = None,
) -> tuple[ShotPlan | None, ...]:
    """Give every prompt its plan, and the pipeline the number of frames that the plans need."""
    if shots is None:
        timed = [_TIMED_SHOT.search(text) is not None for text in prompts]
        plans = tuple(
            ShotPlan.from_prompt(t, fps=fps) if is_timed else None
            for t, is_timed in zip(prompts, timed, strict=True)
        )
    else:
        plans = repeat_plans(shots, len(prompts), None)
    counts = {plan.num_frames for plan in plans if plan is not None}
    if len(counts) > 1:
        raise ShotPlanError(
            f"expected plans of one length, got {sorted(counts)} frames in probe; probe them one by one"
        )
    if counts and asked_frames not in (None, *counts):
        raise ShotPlanError(
            f"expected as many frames as the shots have, {counts.pop()}, got {asked_frames} as num_frames; "
            "leave it out or change the shots"
        )
    if counts:
        arguments["num_frames"] = counts.pop()
    return plans


def repeat_prompt(prompt: str | Sequence[str], count: int) -> tuple[str, ...]:
    prompts = (prompt,) * count if isinstance(prompt, str) else tuple(prompt)
    if len(prompts) != count:
        raise InputError(
            f"expected one prompt for each of {count} videos, got {len(prompts)} in probe_video; give one or {count}"
        )
    return prompts


def repeat_plans(shots: Plans, count: int, num_frames: int | None) -> tuple[ShotPlan | None, ...]:
    plans = (shots,) * count if shots is None or isinstance(shots, ShotPlan) else tuple(shots)
    if len(plans) != count:
        raise ShotPlanError(
            f"expected one plan for each of {count} runs, got {len(plans)}; give one or {count}"
        )
    for plan in plans:
        if plan is not None and num_frames is not None and plan.num_frames != num_frames:
            raise ShotPlanError(
                f"expected a plan of {num_frames} frames, as the video has, got one of {plan.num_frames} "
                "in probe_video; plan the video that is given"
            )
    return plans


def branches_of(text: str) -> tuple[str, ...]:
    branches = tuple(part.strip() for part in text.split(","))
    for part in branches:
        if part not in BRANCHES or branches.count(part) > 1:
            raise InputError(
                f"expected cond, uncond or both as cond,uncond, got {text!r} as branch; name one of them"
            )
    return branches


def require_videos(video: Any) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    videos = [np.asarray(clip) for clip in ([video] if getattr(video, "ndim", 0) == 4 else video)]
    shapes = {clip.shape for clip in videos}
    good = len(shapes) == 1 and all(clip.ndim == 4 and clip.shape[-1] == 3 for clip in videos)
    if not good or any(clip.dtype != np.uint8 for clip in videos):
        raise InputError(
            "expected uint8 videos of one shape (frames, height, width, 3), got "
            f"{sorted((str(clip.dtype), clip.shape) for clip in videos)[:3]} in probe_video; convert or cut them"
        )
    if (len(videos[0]) - 1) % 4 or len(videos[0]) < 5:
        raise InputError(
            f"expected 4n + 1 frames, at least 5, got {len(videos[0])} in probe_video; leave out frames at the end"
        )
    return videos


def require_sigma(sigma: float) -> float:
    if not 0 < sigma <= 1:
        raise InputError(
            f"expected noise levels above 0 and up to 1, got {sigma} in probe_video; choose others"
        )
    return float(sigma)
