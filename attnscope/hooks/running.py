"""Running a pipeline once with hooks, or once with a memory of what passed by chosen hook points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from attnscope._types import Arguments
from attnscope.errors import InputError, quote
from attnscope.families.calling import require_text_encoder
from attnscope.families.protocols import Model
from attnscope.hooks.attachment import Attachment, join_or_attach
from attnscope.hooks.calls import Call
from attnscope.hooks.points import Hook, HookPoint, NameFilter, match_names


class Record(NamedTuple):
    """One value that passed by a hook point, and the call it belongs to."""

    call: Call
    value: Tensor


def hook_points(model: Model | Attachment) -> tuple[str, ...]:
    """List the names of all places in a model's attention where one can look or write.

    Parameters
    ----------
    model
        A loaded pipeline, its denoiser, or an `Attachment`.

    Raises
    ------
    UnsupportedModelError
        If no family knows the model.

    Examples
    --------
    >>> from attnscope.testing.wan import tiny_wan
    >>> names = hook_points(tiny_wan(num_layers=2))
    >>> len(names), names[0], names[-1]
    (44, 'blocks.0.attn.hook_q', 'blocks.1.xattn.hook_out')
    """
    with join_or_attach(model) as attachment:
        return tuple(attachment.points)


def run_with_hooks(
    model: Model | Attachment, *args: object, fwd_hooks: Sequence[tuple[NameFilter, Hook]], **kwargs: object
) -> Any:
    """Run a video pipeline once while functions of yours look at, or change, what passes through its attention.

    Parameters
    ----------
    model
        A loaded pipeline, or an `Attachment` that is open already (then it stays open).
    fwd_hooks
        Pairs of hook name (or names, patterns such as "blocks.*.attn.hook_q", or a filter over names) and
        `hook(value, point)`, which returns None or a replacement. Added in order.
    *args, **kwargs
        Passed to the pipeline; its result is returned.

    Raises
    ------
    HookNameError
        If a name does not exist, before anything runs.

    Examples
    --------
    >>> from attnscope.testing.wan import tiny_wan
    >>> pipe, seen = tiny_wan(num_layers=2), []
    >>> def look(mass, point):
    ...     seen.append((point.name, point.call.step, point.call.branch, tuple(mass.shape)))
    >>> small = dict(height=32, width=32, num_frames=5, num_inference_steps=1, output_type="latent")
    >>> _ = run_with_hooks(pipe, "a cat", fwd_hooks=[("blocks.1.attn.hook_frame_mass", look)], **small)
    >>> seen[0]
    ('blocks.1.attn.hook_frame_mass', 0, 'cond', (1, 2, 2, 2))
    """
    with join_or_attach(model) as attachment:
        return _run(attachment, args, kwargs, fwd_hooks)


def run_with_cache(
    model: Model | Attachment,
    *args: object,
    names_filter: NameFilter,
    device: str | torch.device | None = None,
    **kwargs: object,
) -> tuple[Any, dict[str, list[Record]]]:
    """Run a video pipeline once and remember what passed by the hook points you name.

    Every value is copied (to `device`, if given) and detached, one `Record` per denoiser call, in the order of
    calls. `names_filter` is a name, a pattern such as "blocks.*.attn.hook_frame_mass", several of them, or a function
    that is asked of each name. Nothing is remembered by default, because everything would not fit. Values seen again
    while gradient checkpointing recomputes a layer are not remembered twice.

    Returns
    -------
    The pipeline's result, and for each name its records.

    Raises
    ------
    HookNameError
        If a name does not exist or the filter takes none, before anything runs.

    Examples
    --------
    >>> from attnscope.testing.wan import tiny_wan
    >>> small = dict(height=32, width=32, num_frames=5, num_inference_steps=2, output_type="latent")
    >>> _, cache = run_with_cache(tiny_wan(2), "a cat", names_filter="blocks.0.attn.hook_frame_mass", **small)
    >>> [(record.call.step, record.call.branch) for record in cache["blocks.0.attn.hook_frame_mass"]]
    [(0, 'cond'), (0, 'uncond'), (1, 'cond'), (1, 'uncond')]
    """
    if not isinstance(model, Attachment):
        with join_or_attach(model) as attachment:
            return run_with_cache(attachment, *args, names_filter=names_filter, device=device, **kwargs)
    names = match_names(model.points, names_filter, "run_with_cache")
    cache: dict[str, list[Record]] = {name: [] for name in names}

    def remember(value: Tensor, point: HookPoint) -> None:
        if not point.call.recomputed:
            cache[point.name].append(Record(point.call, value.detach().to(device or value.device, copy=True)))

    return _run(model, args, kwargs, [(names, remember)]), cache


def _run(
    attachment: Attachment,
    args: tuple[object, ...],
    kwargs: Arguments,
    hooks: Sequence[tuple[NameFilter, Hook]],
) -> Any:
    require_text_encoder(attachment.model, kwargs)
    pairs = _require_pairs(hooks)
    wanted = [(match_names(attachment.points, names, "run_with_hooks"), hook) for names, hook in pairs]
    removers = [attachment.listen(names, hook) for names, hook in wanted]
    try:
        return attachment.model(*args, **kwargs)
    finally:
        for remove in removers:
            remove()


def _require_pairs(hooks: object) -> list[tuple[NameFilter, Hook]]:
    pairs = None if isinstance(hooks, str | Mapping) or not isinstance(hooks, Iterable) else list(hooks)
    if pairs is not None and all(
        isinstance(each, Sequence) and len(each) == 2 and callable(each[1]) for each in pairs
    ):
        return pairs
    raise InputError(
        expected="pairs of hook names and a function",
        got=quote(hooks),
        where="as fwd_hooks",
        remedy='write [("blocks.0.attn.hook_q", hook)]',
    )
