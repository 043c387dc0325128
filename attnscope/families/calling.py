"""How a pipeline of any family is called: its own defaults, its own names, and what it cannot run."""

from __future__ import annotations

import inspect
import re
from typing import Any

from torch import nn

from attnscope._types import Arguments
from attnscope.checks import require_number, require_whole
from attnscope.errors import InputError, quote
from attnscope.families.base import Family
from attnscope.families.dropping import find_dropped
from attnscope.families.protocols import Model, Pipeline

_ENCODED = re.compile(r"prompt_embeds|prompt_attention_mask|^mask_feature$")
_SIZE = ("num_frames", "height", "width")
_RECORDED = (
    "height",
    "width",
    "num_frames",
    "num_inference_steps",
    "guidance_scale",
    "strength",
    "true_cfg_scale",
)
_OURS = {
    "prompt": "leave it out",
    "generator": "give seed=... instead",
    "output_type": "leave it out",
    "return_dict": "leave it out",
}


class NoiseShare(float):
    """A noise level that is a share already, from 0 to 1, and no sigma in the unit of some scheduler."""


def fill_defaults(pipe: Pipeline, family: Family, arguments: Arguments) -> dict[str, Any]:
    """Fill in the pipeline's own defaults, so that the record says what ran; frames are `num_frames` in all models."""
    given = dict(arguments)
    _refuse_ours(pipe, given)
    require_text_encoder(pipe, given)
    parameters = _parameters(pipe)
    if family.frames_argument in parameters:
        parameters["num_frames"] = parameters[family.frames_argument]
        if family.frames_argument in given:
            given["num_frames"] = given.pop(family.frames_argument)
    elif "video" in parameters:
        given.setdefault("num_frames", len(given.get("video") or ()))
        parameters["num_frames"] = parameters["video"]
    _refuse_unknown(pipe, given, parameters)
    _fill_text_length(pipe, family, given)
    defaults = {name: parameters[name].default for name in _RECORDED if name in parameters}
    known = {name: value for name, value in defaults.items() if value is not None}
    return _require_sizes(pipe, {**family.default_size(pipe), **known, **given})


def _refuse_ours(pipe: Pipeline, given: Arguments) -> None:
    for name, remedy in _OURS.items():
        if name in given:
            raise InputError(
                expected=f"arguments without {name}, which attnscope sets itself",
                got=f"{name}={quote(given[name])} for a run",
                where=f"of {type(pipe).__name__}",
                remedy=remedy,
            )


def _refuse_unknown(pipe: Pipeline, given: Arguments, parameters: Arguments) -> None:
    unknown = sorted(set(given) - set(parameters))
    if unknown:
        raise InputError(
            expected=f"arguments of {type(pipe).__name__}",
            got=f"{', '.join(unknown)}",
            where="in probe",
            remedy="leave them out",
        )


def _fill_text_length(pipe: Pipeline, family: Family, given: dict[str, Any]) -> None:
    """Note the length of text where a model reads but one; another one is refused."""
    require_embeds(pipe, family, given)
    length = family.fixed_text_length(pipe)
    if length is not None and given.setdefault("max_sequence_length", length) != length:
        raise InputError(
            expected=f"{length}, the only length of text that this {type(pipe).__name__} reads",
            got=quote(given["max_sequence_length"]),
            where="as max_sequence_length",
            remedy="leave it out",
        )


def _require_sizes(pipe: Pipeline, arguments: Arguments) -> dict[str, Any]:
    """Return the arguments with sizes and steps as whole numbers; each of them must be known by now."""
    whole = dict(arguments)
    for name in _SIZE:
        if whole.get(name) is None:
            raise InputError(
                expected=f"{name}, which {type(pipe).__name__} has no default for",
                got="none",
                where="in probe",
                remedy=f"give {name}=...",
            )
        whole[name] = require_whole(whole[name], "a whole number", f"as {name}", remedy=f"write {name}=17")
    return whole


def default_size(pipe: Pipeline, family: Family) -> dict[str, int]:
    """Return the size of the videos that a pipeline makes when it is told none, as far as it says."""
    parameters = _parameters(pipe)
    given = {name: parameters[name].default for name in _SIZE if name in parameters}
    return {
        **family.default_size(pipe),
        **{name: each for name, each in given.items() if isinstance(each, int)},
    }


def _parameters(pipe: Pipeline) -> dict[str, inspect.Parameter]:
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


def rename_for_pipeline(pipe: Pipeline, family: Family, arguments: Arguments) -> dict[str, Any]:
    """Return the arguments under the pipeline's names; one that reads no text, or has it encoded, gets no prompt."""
    parameters = _parameters(pipe)
    called = {name: value for name, value in arguments.items() if name not in ("num_frames", "prompt")}
    if family.frames_argument in parameters:
        called[family.frames_argument] = arguments["num_frames"]
    # Embeddings take the place of the prompt, which then is but the label of the run.
    if "prompt" in parameters and "prompt" in arguments and arguments.get("prompt_embeds") is None:
        called["prompt"] = arguments["prompt"]
    return {**omit_prompts(pipe, called), **called}


def omit_prompts(pipe: Pipeline, arguments: Arguments) -> dict[str, None]:
    """Say no prompt where its embeddings are given: some pipelines have one by default, and refuse both."""
    parameters = _parameters(pipe)
    return {
        name: None
        for name in ("prompt", "negative_prompt")
        if name in parameters and arguments.get(f"{name}_embeds") is not None
    }


def require_runnable(arguments: Arguments, branches: tuple[str, ...]) -> None:
    """Refuse steps and guidance with which nothing would run, and several videos in one run."""
    require_whole(
        arguments["num_inference_steps"],
        "at least 1 step",
        "as num_inference_steps",
        least=1,
        remedy="write 20",
    )
    for name in ("guidance_scale", "true_cfg_scale"):
        require_number(
            arguments.get(name, 1.0), "a finite number", f"as {name}", remedy="write for instance 2.5"
        )
    for name in ("num_videos_per_prompt", "num_images_per_prompt"):
        if arguments.get(name, 1) != 1:
            raise InputError(
                expected="one video a run",
                got=quote(arguments[name]),
                where=f"as {name}",
                remedy="leave it out, and give the prompt several times for several seeds",
            )
    if "uncond" in branches:
        _require_guidance(arguments)


def _require_guidance(arguments: Arguments) -> None:
    # Where a model was distilled to take its guidance as a number, a second branch runs under true guidance only.
    name = "true_cfg_scale" if "true_cfg_scale" in arguments else "guidance_scale"
    negative = [arguments.get(each) for each in ("negative_prompt", "negative_prompt_embeds")]
    if name == "true_cfg_scale" and arguments[name] > 1 and all(each is None for each in negative):
        raise InputError(
            expected="a negative prompt where the uncond branch of true guidance is recorded",
            got="none",
            where="in probe",
            remedy='give negative_prompt=""',
        )
    if name in arguments and arguments[name] <= 1:
        raise InputError(
            expected="a guidance scale above 1 where the uncond branch is recorded",
            got=f"{arguments[name]:g}",
            where=f"as {name}",
            remedy="raise it or record cond alone",
        )


def require_embeds(pipe: Pipeline, family: Family, arguments: Arguments) -> None:
    """Refuse texts that are encoded already in a form that this pipeline does not read.

    Raises
    ------
    InputError
        They are no embeddings of one prompt, or of another length than the only one that the model reads.
    """
    length = family.fixed_text_length(pipe)
    for name in ("prompt_embeds", "negative_prompt_embeds"):
        embeds: Any = arguments.get(name)
        if embeds is None:
            continue
        shape = tuple(getattr(embeds, "shape", ()))
        if len(shape) != 3 or shape[0] != 1 or length not in (None, shape[1]):
            raise InputError(
                expected=f"the embeddings of one prompt, (1, {length or 'tokens'}, width)",
                got=f"shape {shape}" if shape else quote(embeds),
                where=f"as {name}",
                remedy=f"encode one prompt with encode_prompt of this {type(pipe).__name__}",
            )


def require_encoded(pipe: Pipeline, family: Family, encoded: Arguments, num_prompts: int) -> None:
    """Refuse what is no text of one prompt, encoded already, by the names that the pipeline has for it.

    Raises
    ------
    InputError
        Other arguments, a part without ``prompt_embeds``, or several prompts beside them.
    """
    names = [name for name in _parameters(pipe) if _ENCODED.search(name)]
    unknown = sorted(set(encoded) - set(names))
    if unknown or (encoded and encoded.get("prompt_embeds") is None):
        raise InputError(
            expected=f"prompt_embeds and what belongs to them, of {', '.join(names) or 'which there are none'}",
            got=", ".join(unknown or encoded),
            where=f"in probe_video of {type(pipe).__name__}",
            remedy="leave the others out",
        )
    if encoded and num_prompts > 1:
        raise InputError(
            expected="one prompt, the label of its embeddings",
            got=f"{num_prompts} prompts beside prompt_embeds",
            where="in probe_video",
            remedy="look at the videos one by one",
        )
    require_embeds(pipe, family, encoded)


def require_text_encoder(pipe: Model, arguments: Arguments) -> None:
    """Refuse a pipeline that shall read a prompt but was loaded without what reads it.

    Raises
    ------
    InputError
        A tokenizer or text encoder is missing, and no embeddings were given.
    """
    if isinstance(pipe, nn.Module) or "prompt_embeds" in arguments or find_dropped(pipe) is not None:
        return
    optional = set(getattr(pipe, "_optional_components", ())) - {"tokenizer", "text_encoder"}
    parts = [
        name
        for name in inspect.signature(type(pipe).__init__).parameters
        if name.startswith(("tokenizer", "text_encoder")) and name not in optional
    ]
    missing = [name for name in parts if getattr(pipe, name, None) is None]
    if missing:
        raise InputError(
            expected=f"a {type(pipe).__name__} that can read prompts",
            got=f"one without {', '.join(missing)}",
            where="in this pipeline",
            remedy="load it with them, or give prompt_embeds",
        )


def require_size(pipe: Pipeline, family: Family, size: Arguments) -> None:
    """Refuse videos of a size that the model cannot make."""
    family.require_size(pipe, **{name: int(size[name]) for name in _SIZE})
