"""Attaching to a loaded pipeline: taps at every attention site, labels for every call, and no trace afterwards."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, Self, cast

from torch import nn

from attnscope.errors import InputError, LayoutError
from attnscope.families import Family, Site, find
from attnscope.hooks.calls import NO_CALL, Call, Labels, Pass
from attnscope.hooks.denoising import SkipGuard, hear_contexts, keep_label_in_checkpoints
from attnscope.hooks.points import MEMBERS, Hook, HookPoint, NameFilter, chosen
from attnscope.hooks.seam import open_seam
from attnscope.hooks.tap import Tap, tap_class
from attnscope.layout import FrameLayout


class Attachment:
    """An open window into a pipeline: its taps by layer, its hook points by name, and the call that is running.

    `taps[7]` is the tap on the self-attention of layer 7 (1-based), `cross_taps[7]` the one on its
    cross-attention, `points["blocks.6.attn.hook_q"]` a hook point. Two transformers (Wan 2.2) share their points;
    `call.denoiser` says which one runs. `changes` says in words what is being done to the attention by whoever
    writes to it, for the record of whoever looks. Leaving the `with` block puts back the very objects that were there.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.family: Family = find(model)
        self.taps: dict[int, Tap] = {}
        self.cross_taps: dict[int, Tap] = {}
        self.points: dict[str, HookPoint] = {}
        self.changes: list[str] = []
        self._labels = Labels(lambda: getattr(model, "scheduler", None))
        self._pass: Pass | None = None
        self._layer = 0
        self._callbacks: dict[str, list[Callable[[Call], None]]] = {"before": [], "after": []}
        self._forget: Callable[[], None] = _nothing
        self._undo = ExitStack()
        with ExitStack() as undo:
            for name, denoiser in self.family.denoisers(model).items():
                self._attach(name, denoiser, undo)
            self._undo = undo.pop_all()

    @property
    def call(self) -> Call:
        """The attention call that is running; step -1 and branch "unknown" between calls."""
        return NO_CALL if self._pass is None else replace(self._pass.call, layer=self._layer)

    @property
    def layout(self) -> FrameLayout:
        """Which token belongs to which latent frame, in the denoiser call that is running.

        Raises
        ------
        LayoutError
            If no denoiser is running.
        """
        if self._pass is None:
            raise LayoutError(
                "expected a running denoiser, got a question for the layout between calls, in an attachment; "
                "ask from a hook, or call the whole denoiser"
            )
        return self._pass.layout

    def enter_layer(self, layer: int) -> None:
        """Note that the attention of this layer runs now; 0 when it is over. Called by the taps."""
        self._layer = layer

    def listen(self, names: NameFilter, hook: Hook) -> Callable[[], None]:
        """Let `hook(value, point)` listen at hook points; return the way to stop.

        Raises
        ------
        HookNameError
            If a name does not exist, with near matches, or the filter takes none.
        """
        removers = [self.points[name].add(hook) for name in chosen(self.points, names, "Attachment.listen")]

        def stop() -> None:
            for remove in removers:
                remove()

        return stop

    def on_call(
        self, callback: Callable[[Call], None], *, when: Literal["before", "after"] = "before"
    ) -> Callable[[], None]:
        """Call `callback(call)` before or after every pass of a denoiser; return the way to stop.

        A pass that raises has no `after`. Recomputation under gradient checkpointing is not a pass.
        """
        callbacks = self._callbacks[when]
        callbacks.append(callback)
        return lambda: callbacks.remove(callback)

    def detach(self) -> None:
        """Put back the original processors, by identity, and remove everything else. Safe to call twice."""
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()

    def _attach(self, name: str, denoiser: nn.Module, undo: ExitStack) -> None:
        guard = SkipGuard(denoiser)
        guard.check()
        for site in self.family.sites(denoiser):
            self._tap(denoiser.get_submodule(site.module), site, undo)
        undo.callback(hear_contexts(denoiser, self._labels))

        def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            guard.check()
            self._begin(name, module, args, kwargs)

        def after(module: nn.Module, args: tuple[Any, ...], result: Any) -> None:
            self._end(finished=result is not None)

        undo.callback(denoiser.register_forward_pre_hook(before, with_kwargs=True).remove)
        undo.callback(denoiser.register_forward_hook(after, always_call=True).remove)

    def _tap(self, module: nn.Module, site: Site, undo: ExitStack) -> None:
        original: Any = module.processor
        if isinstance(original, Tap):
            raise InputError(
                f"expected a model without taps, got one that is attached already, at {site.module}; "
                f"use the attachment that is there, or detach it first"
            )
        undo.callback(open_seam(original))
        tap = tap_class(cast("Hashable", type(original)))(original, site, self._points_of(site), self)
        taps = self.taps if site.kind == "self" else self.cross_taps
        taps.setdefault(site.layer, tap)
        module.processor = tap
        undo.callback(_put_back, module, tap, original)

    def _points_of(self, site: Site) -> Mapping[str, HookPoint]:
        prefix = self.family.prefix(site)
        found = {}
        for member in MEMBERS:
            name = f"{prefix}.hook_{member}"
            found[member] = self.points.setdefault(name, HookPoint(name, site.layer, self))
        return found

    def _begin(self, name: str, denoiser: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = self.family.read_input(args, kwargs)
        layout = self.family.layout(denoiser, given.latent_shape)
        self._pass = self._labels.next_pass(name, given.timestep, layout)
        self._forget = keep_label_in_checkpoints(denoiser, self._pass, self._during)
        for callback in tuple(self._callbacks["before"]):
            callback(self._pass.call)

    def _end(self, *, finished: bool) -> None:
        ended, self._pass = self._pass, None
        self._forget()
        self._forget = _nothing
        if finished and ended is not None:
            for callback in tuple(self._callbacks["after"]):
                callback(ended.call)

    @contextmanager
    def _during(self, running: Pass) -> Iterator[None]:
        before, self._pass = self._pass, running
        try:
            yield
        finally:
            self._pass = before


def attach(model: Any) -> Attachment:
    """Open a window into the attention of a loaded video pipeline.

    Every attention site gets a tap. As long as nobody listens, and also when somebody only looks, the video comes
    out bit for bit the same. Adapters (LoRA) may be added before or after; the model is not copied.

    Parameters
    ----------
    model
        A loaded diffusers video pipeline, or its denoiser (for training).

    Raises
    ------
    UnsupportedModelError
        If no family knows the model, or a cache that skips layers is switched on.
    InputError
        If the model is attached already.

    >>> from attnscope.families._tiny import tiny_wan
    >>> pipe = tiny_wan(num_layers=2)
    >>> with attach(pipe) as window:
    ...     sorted(window.taps), len(window.points)
    ([1, 2], 44)
    """
    return Attachment(model)


def attached_to(model: Any) -> Attachment | None:
    """Return the window that is open on a model, None if there is none.

    >>> from attnscope.families._tiny import tiny_wan
    >>> pipe = tiny_wan(num_layers=1)
    >>> with attach(pipe) as window:
    ...     attached_to(pipe) is window
    True
    >>> attached_to(pipe) is None
    True
    """
    family = find(model)
    for denoiser in family.denoisers(model).values():
        for site in family.sites(denoiser):
            processor: Any = denoiser.get_submodule(site.module).processor
            if isinstance(processor, Tap) and isinstance(processor.owner, Attachment):
                return processor.owner
    return None


@contextmanager
def joined(model: Any) -> Iterator[Attachment]:
    """Use the window that is open on a model, and leave it open; open one for a while where there is none.

    So that a probe can look at a model while an intervention changes it.
    """
    window = model if isinstance(model, Attachment) else attached_to(model)
    if window is not None:
        yield window
        return
    with attach(model) as window:
        yield window


def _nothing() -> None:
    pass


def _put_back(module: nn.Module, tap: Tap, original: Any) -> None:
    # A processor that was set while attached was meant to stay.
    if module.processor is tap:
        # A plain object cannot take the place of a registered child module; the child has to leave first.
        del module.processor
        module.processor = original
