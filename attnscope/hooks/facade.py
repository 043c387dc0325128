"""The same hook points through nnsight, for free-form work that hooks alone would make clumsy."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Self

from torch import nn
from typing_extensions import override

from attnscope.families.protocols import Model
from attnscope.hooks.attachment import Attachment, find_or_attach

# What nnsight writes into every module that it wraps, and does not take back.
_WRITTEN = ("forward", "__nnsight__")


class _Runner(nn.Module):
    """A pipeline as a module: calling it runs the pipeline; its networks are children."""

    def __init__(self, model: Model, taps: dict[str, nn.Module], networks: dict[str, nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        for name, tap in taps.items():
            _, index, kind = name.split(".")
            while len(self.blocks) <= int(index):
                self.blocks.append(nn.Module())
            self.blocks[int(index)].add_module(kind, tap)
        # In a tuple, so that a model that is itself a module is not registered a second time.
        self._model = (model,)
        for name, network in networks.items():
            self.add_module(name, network)

    @override
    def forward(self, *args: object, **kwargs: object) -> object:
        return self._model[0](*args, **kwargs)


def _state_of_nnsight(module: nn.Module) -> dict[str, object]:
    return {name: module.__dict__[name] for name in _WRITTEN if name in module.__dict__}


def _take_back(module: nn.Module, before: dict[str, object]) -> None:
    now = _state_of_nnsight(module)
    if type(now.get("forward")).__module__.partition(".")[0] != "nnsight":
        # A forward that somebody else has put over nnsight's meanwhile was meant to stay.
        before = {**before, "forward": now["forward"]} if "forward" in now else {}
    for name in now:
        del module.__dict__[name]
    module.__dict__.update(before)


@functools.cache
def _make_traced() -> Callable[[_Runner, Attachment | None], Any]:
    """Return the class of what is handed out; made at first use, because nnsight is slow to import."""
    from nnsight import NNsight

    class Traced(NNsight):  # type: ignore[misc]
        """An `nnsight.NNsight` whose `with` block leaves the modules as they were."""

        def __init__(self, runner: _Runner, opened: Attachment | None) -> None:
            self._before = [(module, _state_of_nnsight(module)) for module in runner.modules()]
            self._opened = opened
            super().__init__(runner)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *error: object) -> None:
            for module, before in self._before:
                _take_back(module, before)
            if self._opened is not None:
                self._opened.detach()

    return Traced


def as_nnsight(model: Model | Attachment) -> Any:
    """Open an attached pipeline in nnsight, with the hook points under the names they have everywhere else.

    `model.blocks[6].attn.hook_frame_mass.output` in a trace is what `run_with_cache` records under
    `blocks.6.attn.hook_frame_mass`, one value a denoiser call; writing to `.output` there gives the attention that
    frame mass, writing to `hook_mask.output` hides frames. A trace runs the pipeline with its own number of steps;
    reading outside `tracer.iter[...]` reads the first call. Guidance in one call shows both branches as one batch.

    Read hook points rather than `.source`, whose call numbers can be wrong without a word (nnsight 0.8.1), and rather
    than layers that an adapter may have replaced after this: those nnsight does not see. Both are pinned by tests.

    Parameters
    ----------
    model
        An open `Attachment`, or a pipeline: then the one that is open on it, or one that is opened. Write `with`: at
        the end of the block nnsight leaves the modules, and an attachment that was opened here is closed; others stay.

    Returns
    -------
    An `nnsight.NNsight` around the pipeline's networks. It is of no use after its attachment is detached.

    Examples
    --------
    >>> from attnscope.testing.wan import tiny_wan
    >>> from attnscope.hooks import find_attachment
    >>> pipe = tiny_wan(num_layers=2)
    >>> with as_nnsight(pipe) as model:
    ...     model.blocks[1].attn.hook_q.path
    'model.blocks.1.attn.hook_q'
    >>> find_attachment(pipe) is None
    True
    """
    attachment, is_new = find_or_attach(model)
    networks = {
        name: part
        for name, part in getattr(attachment.model, "components", {}).items()
        if isinstance(part, nn.Module)
    }
    networks |= attachment.family.denoisers(attachment.model)
    taps: dict[str, nn.Module] = {tap.site.prefix: tap for tap in attachment.all_taps}
    return _make_traced()(_Runner(attachment.model, taps, networks), attachment if is_new else None)
