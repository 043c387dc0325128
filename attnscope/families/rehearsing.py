"""A pipeline's run up to where it would denoise: what it says of the steps to come, before any of them is made."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, cast

import torch
from torch import nn

from attnscope._types import Arguments
from attnscope.errors import AttnscopeError, InputError, quote
from attnscope.families.base import Family
from attnscope.families.protocols import Pipeline
from attnscope.families.seeding import keep_generators

# What pipelines raise where an argument cannot be used; all else is a fault of its own.
_REFUSALS = (ValueError, TypeError, AttributeError, LookupError, AssertionError, NotImplementedError)


class _Begun(BaseException):
    """The pipeline has come to its first step. No Exception: no pipeline shall catch it."""


class _FirstStep:
    """Notes that a denoiser was called, and ends the run there if it is only rehearsed."""

    def __init__(self, *, ends: bool) -> None:
        self.has_begun, self._ends = False, ends

    def __call__(self, module: nn.Module, args: tuple[object, ...]) -> None:
        self.has_begun = True
        if self._ends:
            raise _Begun


def run_pipeline(
    pipe: Pipeline, family: Family, arguments: Arguments, *, first: _FirstStep | None = None
) -> Any:
    """Run a pipeline; what it refuses before its first step is said in one line.

    Raises
    ------
    InputError
        The pipeline cannot begin with these arguments.
    """
    noted = first or _FirstStep(ends=False)
    with ExitStack() as undo:
        hook = cast(Any, torch.compiler).disable(noted)
        for denoiser in family.denoisers(pipe).values():
            undo.callback(denoiser.register_forward_pre_hook(hook, prepend=True).remove)
        try:
            return pipe(**arguments)
        except AttnscopeError:
            raise
        except _REFUSALS as error:
            if noted.has_begun:
                raise
            raise InputError(
                expected=f"arguments that {type(pipe).__name__} can begin with",
                got=quote(f"{type(error).__name__}: {error}", limit=300),
                where="before its first step",
                remedy="change what it names",
            ) from error


def rehearse(pipe: Pipeline, family: Family, arguments: Arguments) -> int:
    """Run a pipeline up to its first step; return how many steps it would make.

    Methods of second order and warm-up phases run the model more often than `num_inference_steps`, a video that is
    changed runs fewer of them, and own noise levels or timesteps make it another number: it is taken from the run.
    Nothing is left changed, the random generators included.

    Parameters
    ----------
    arguments
        As the pipeline is called.

    Raises
    ------
    InputError
        The pipeline refuses its arguments, would make no step at all, or would make its steps several times.
    """
    name = type(pipe).__name__
    if getattr(pipe, "free_init_enabled", False) and pipe._free_init_num_iters > 1:
        raise InputError(
            expected="a run that makes each step once",
            got=f"FreeInit, which makes them {pipe._free_init_num_iters} times",
            where=f"in this {name}",
            remedy="call disable_free_init() on the pipeline",
        )
    with keep_generators(pipe):
        try:
            run_pipeline(pipe, family, arguments, first=_FirstStep(ends=True))
        except _Begun:
            return num_steps_of(pipe)
    raise InputError(
        expected="at least one denoising step",
        got="none",
        where=f"in a run of {name} with these arguments",
        remedy="raise num_inference_steps or strength",
    )


def num_steps_of(pipe: object) -> int:
    """Return how many steps the run has that a pipeline has begun; 0 if it has begun none.

    >>> num_steps_of(object())
    0
    """
    said = getattr(pipe, "_num_timesteps", None)
    if said:
        return int(said)
    timesteps = getattr(getattr(pipe, "scheduler", None), "timesteps", None)
    return 0 if timesteps is None else len(timesteps)
