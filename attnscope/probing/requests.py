"""What is asked of a probe, checked before anything runs: prompts, plans, videos, sizes, steps, branches."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from attnscope._types import Arguments, Frames, Plans, Range
from attnscope.checks import require_number
from attnscope.errors import InputError, ShotPlanError, quote
from attnscope.probing.share import Share
from attnscope.shots import ShotPlan
from attnscope.video.arrays import as_videos

BRANCHES = ("cond", "uncond")

_TIMED_SHOT = re.compile(r"\bshot\s*\d+\s*:\s*\[", re.IGNORECASE)


@dataclass(frozen=True)
class ProbeRequest:
    """What shall be recorded of how many runs, with ranges as they were written; a model gives them their meaning.

    `num_frames`, `height` and `width` are those of the video, `fps` its clock where no plan has one of its own.
    """

    prompts: tuple[str, ...]
    plans: tuple[ShotPlan | None, ...]
    fps: Fraction
    num_steps: int
    branches: tuple[str, ...]
    layers: Range
    heads: Range
    steps: Range
    seed: int
    num_frames: int
    height: int
    width: int


def size_of(arguments: Arguments) -> tuple[int, int, int]:
    """Return frames, height and width of the video that a pipeline is called for."""
    return int(arguments["num_frames"]), int(arguments["height"]), int(arguments["width"])


def require_prompts(prompt: str | Sequence[str] | None, *, has_embeds: bool = False) -> tuple[str, ...]:
    """Bring one prompt or several to one form; none is refused, unless embeddings say what to make.

    >>> require_prompts("a cat"), require_prompts(None, has_embeds=True)
    (('a cat',), ('',))
    """
    if prompt is None and has_embeds:
        return ("",)
    prompts: object = (prompt,) if isinstance(prompt, str) else prompt
    if (
        not isinstance(prompts, Iterable)
        or not (prompts := tuple(prompts))
        or not all(isinstance(each, str) for each in prompts)
    ):
        raise InputError(
            expected="at least one prompt",
            got=quote(prompt),
            where="in probe",
            remedy="give a text or a list of texts",
        )
    if has_embeds and len(prompts) > 1:
        raise InputError(
            expected="one prompt, the label of its embeddings",
            got=f"{len(prompts)} prompts beside prompt_embeds",
            where="in probe",
            remedy="probe them one by one",
        )
    return prompts


def require_share(share: tuple[int, int], out: object) -> Share:
    """Refuse to split prompts where the parts would never come together."""
    part = Share(*share)
    if part.count > 1 and out is None:
        raise InputError(
            expected=f"a store that {part.count} processes fill together",
            got="no out",
            where="in probe",
            remedy="give them all one path",
        )
    return part


def plans_of(
    prompts: tuple[str, ...],
    shots: Plans,
    fps: Fraction,
    arguments: dict[str, object],
    asked_frames: object = None,
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
            expected="plans of one length",
            got=f"{sorted(counts)} frames",
            where="in probe",
            remedy="probe them one by one",
        )
    if counts and asked_frames not in (None, *counts):
        raise ShotPlanError(
            expected=f"as many frames as the shots have, {counts.pop()}",
            got=f"{asked_frames}",
            where="as num_frames",
            remedy="leave it out or change the shots",
        )
    if counts:
        arguments["num_frames"] = counts.pop()
    return plans


def repeat_prompt(prompt: str | Sequence[str], count: int) -> tuple[str, ...]:
    """Give each of `count` videos its prompt."""
    prompts = (prompt,) * count if isinstance(prompt, str) else tuple(prompt)
    if len(prompts) != count:
        raise InputError(
            expected=f"one prompt for each of {count} videos",
            got=f"{len(prompts)}",
            where="in probe_video",
            remedy=f"give one or {count}",
        )
    return prompts


def repeat_plans(shots: Plans, count: int, num_frames: int | None) -> tuple[ShotPlan | None, ...]:
    """Give each of `count` runs its plan, and refuse plans of another length than the video."""
    plans = (shots,) * count if shots is None or isinstance(shots, ShotPlan) else tuple(shots)
    if len(plans) != count:
        raise ShotPlanError(
            expected=f"one plan for each of {count} runs",
            got=f"{len(plans)}",
            where="in probe",
            remedy=f"give one or {count}",
        )
    for plan in plans:
        if plan is not None and num_frames is not None and plan.num_frames != num_frames:
            raise ShotPlanError(
                expected=f"a plan of {num_frames} frames, as the video has",
                got=f"one of {plan.num_frames}",
                where="in probe_video",
                remedy="plan the video that is given",
            )
    return plans


def branches_of(text: str) -> tuple[str, ...]:
    """Read the guidance branches to record: "cond", "uncond" or both, with a comma between."""
    branches = tuple(part.strip() for part in text.split(","))
    for part in branches:
        if part not in BRANCHES or branches.count(part) > 1:
            raise InputError(
                expected="cond, uncond or both as cond,uncond",
                got=f"{text!r}",
                where="as branch",
                remedy="name one of them",
            )
    return branches


def require_videos(video: Frames | Sequence[Frames]) -> list[Frames]:
    """Bring one video or several to uint8 arrays of one shape (frames, height, width, 3), of one length."""
    videos = as_videos(video, where="in probe_video", fewest=1)
    if len({clip.shape for clip in videos}) > 1:
        raise InputError(
            expected="videos of one shape",
            got=f"{sorted({clip.shape for clip in videos})[:3]}",
            where="in probe_video",
            remedy="cut them to one length and size",
        )
    return [np.ascontiguousarray(clip) for clip in videos]


def require_sigmas(sigmas: Iterable[float] | float) -> tuple[float, ...]:
    """Bring noise levels to one form, from much noise to little.

    >>> require_sigmas([0.25, np.float32(0.5)])
    (0.5, 0.25)
    """
    levels: Iterable[float] = sigmas if isinstance(sigmas, Iterable) else (sigmas,)
    found = tuple(sorted((require_sigma(each) for each in levels), reverse=True))
    if not found:
        raise InputError(
            expected="at least one noise level",
            got="none",
            where="as sigmas of probe_video",
            remedy="write for instance [0.5]",
        )
    return found


def require_sigma(sigma: float) -> float:
    """Refuse a noise level outside (0, 1]."""
    expected = "noise levels above 0 and up to 1"
    return float(require_number(sigma, expected, "in probe_video", above=0, most=1, remedy="choose others"))
