"""How a pipeline of any family is called: its own defaults, its own names, and what it cannot run."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from attnscope.checks import require_number, require_whole
from attnscope.errors import InputError, quote
from attnscope.families.base import Family

_SIZE = ("num_frames", "height", "width")
_OURS = ("prompt", "generator", "output_type")


def fill_defaults(pipe: Any, family: Family, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in the pipeline's own defaults, so that the record says what ran; frames are `num_frames` in all models."""
    given = dict(arguments)
    for name in _OURS:
        if name in given:
            raise InputError(
                expected=f"arguments without {name}, which attnscope sets itself",
                got=f"{name}={quote(given[name])} for a run",
                where=f"of {type(pipe).__name__}",
                remedy="leave it out",
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
            expected=f"arguments of {type(pipe).__name__}",
            got=f"{', '.join(unknown)}",
            where="in probe",
            remedy="leave them out",
        )
    length = family.fixed_text_length(pipe)
    if length is not None and given.setdefault("max_sequence_length", length) != length:
        raise InputError(
            expected=f"{length}, the only length of text that this {type(pipe).__name__} reads",
            got=quote(given["max_sequence_length"]),
            where="as max_sequence_length",
            remedy="leave it out",
        )
    names = ("height", "width", "num_frames", "num_inference_steps", "guidance_scale", "strength")
    defaults = {name: parameters[name].default for name in names if name in parameters}
    known = {name: value for name, value in defaults.items() if value is not None}
    whole = {**family.default_size(pipe), **known, **given}
    for name in _SIZE:
        if whole.get(name) is None:
            raise InputError(
                expected=f"{name}, which {type(pipe).__name__} has no default for",
                got="none",
                where="in probe",
                remedy=f"give {name}=...",
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


def rename_for_pipeline(pipe: Any, family: Family, arguments: Mapping[str, Any]) -> dict[str, Any]:
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
    require_whole(num_steps, "at least 1 step", "as num_inference_steps", least=1, remedy="write 20")
    require_number(guidance, "a finite number", "as guidance_scale", remedy="write for instance 2.5")
    if "uncond" in branches and "guidance_scale" in arguments and guidance <= 1:
        raise InputError(
            expected="a guidance scale above 1 where the uncond branch is recorded",
            got=f"{guidance:g}",
            where="as guidance_scale",
            remedy="raise it or record cond alone",
        )
    # Of a video that is changed rather than made, the first steps are left out.
    share = float(arguments.get("strength", 1.0))
    return min(int(num_steps * share), num_steps) if share < 1 else num_steps


def require_size(pipe: Any, family: Family, size: Mapping[str, Any]) -> None:
    """Refuse videos of a size that the model cannot make."""
    family.require_size(pipe, **{name: int(size[name]) for name in _SIZE})
