"""Attaching to a loaded pipeline: taps at every attention site, labels for every call, and no trace afterwards."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, Self, cast

import torch
from torch import nn

from attnscope.errors import InputError, LayoutError
from attnscope.families import DenoiserCall, Family, Site, find
from attnscope.hooks.calls import NO_CALL, Call, Labels, Part, Pass, Running, Sample, parts_of
from attnscope.hooks.denoising import SkipGuard, checkpointing, hear_contexts, keep_label_in_checkpoints
from attnscope.hooks.parallel import Heads, heads_here
from attnscope.hooks.points import MEMBERS, Hook, HookPoint, NameFilter, RelationPoint, chosen
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
        self.raised_hands: set[object] = set()
        self._all_taps: list[Tap] = []
        self.changes: list[str] = []
        self._labels = Labels(lambda: getattr(model, "scheduler", None))
        self._running: Running | None = None
        self._samples: slice = slice(None)
        self._branch = ""
        self._layer = 0
        self._callbacks: dict[str, list[Callable[[Call], None]]] = {"before": [], "after": []}
        self._forget: Callable[[], None] = _nothing
        self._undo = ExitStack()
        with ExitStack() as undo:
            for name, denoiser in self.family.denoisers(model).items():
                self._attach(name, denoiser, undo)
            self._undo = undo.pop_all()

    @property
    def _pass(self) -> Pass | None:
        return None if self._running is None else self._running.known

    @property
    def call(self) -> Call:
        """The attention call that is running; step -1 and branch "unknown" between calls."""
        if self._pass is None:
            return NO_CALL
        branch = self._branch or "+".join(part.branch for part in self.parts)
        return replace(self._pass.call, layer=self._layer, branch=branch)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The runs of one guidance branch in the batch of the attention call that is running."""
        return () if self._pass is None else parts_of(self._pass.samples[self._samples])

    @property
    def num_samples(self) -> int:
        """How many videos are in the batch of the attention call that is running; 1 between calls."""
        return 1 if self._pass is None else len(self._pass.samples[self._samples])

    @property
    def layout(self) -> FrameLayout:
        """Which token belongs to which latent frame, in the attention call that is running.

        Raises
        ------
        LayoutError
            If no denoiser is running, or the videos of one batch have texts of different lengths.
        """
        if self._pass is None:
            raise LayoutError(
                expected="a running denoiser",
                got="a question for the layout between calls",
                where="in an attachment",
                remedy="ask from a hook, or call the whole denoiser",
            )
        layouts = {sample.layout for sample in self._pass.samples[self._samples]}
        if len(layouts) > 1:
            raise LayoutError(
                expected="videos whose texts are of one length",
                got=f"{len(layouts)} lengths in one batch",
                where=f"at layer {self._layer}",
                remedy="give the pipeline one prompt at a time",
            )
        return next(iter(layouts))

    @contextmanager
    def hearing(self, part: Part) -> Iterator[None]:
        """Let `call` speak of one guidance branch for a while. Called by the hook points."""
        before, self._branch = self._branch, part.branch
        try:
            yield
        finally:
            self._branch = before

    @contextmanager
    def one_sample(self, index: int) -> Iterator[None]:
        """Let the attention call be about a single video of the batch for a while. Called by the taps."""
        before, self._samples = self._samples, slice(index, index + 1)
        try:
            yield
        finally:
            self._samples = before

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

    @property
    def heads(self) -> Heads | None:
        """Which heads the hook points show, where several processes share a video; None if all."""
        return next((heads_here(tap.inner) for tap in self._all_taps), None)

    @property
    def all_taps(self) -> tuple[Tap, ...]:
        """The taps of the first denoiser, in the order they run."""
        return tuple(self._all_taps)

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
        sites = self.family.sites(denoiser)
        guard, recomputing = SkipGuard(denoiser, [site.module for site in sites]), checkpointing(denoiser)
        for site in sites:
            self._tap(denoiser.get_submodule(site.module), site, undo)
        undo.callback(hear_contexts(denoiser, self._labels))

        def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            guard.check()
            self._running = running = self._next_pass(name, module, args, kwargs)
            self._forget = keep_label_in_checkpoints(recomputing, running, self._during)
            for callback in tuple(self._callbacks["before"]):
                callback(running.known.call)

        def after(module: nn.Module, args: tuple[Any, ...], result: Any) -> None:
            self._end(finished=result is not None)

        # Counting passes is not for a compiler: where a whole denoiser is compiled, its graph lies between the two.
        begin, end = (cast(Any, torch.compiler).disable(hook) for hook in (before, after))
        undo.callback(denoiser.register_forward_pre_hook(begin, with_kwargs=True).remove)
        undo.callback(denoiser.register_forward_hook(end, always_call=True).remove)

    def _tap(self, module: nn.Module, site: Site, undo: ExitStack) -> None:
        original: Any = module.processor
        if isinstance(original, Tap):
            raise InputError(
                expected="a model without taps",
                got="one that is attached already",
                where=f"at {site.module}",
                remedy="use the attachment that is there, or detach it first",
            )
        undo.callback(open_seam(original))
        tap = tap_class(cast("Hashable", type(original)))(original, site, self._points_of(site), self)
        taps = self.taps if site.kind == "self" else self.cross_taps
        if taps.setdefault(site.layer, tap) is tap:
            self._all_taps.append(tap)
        module.processor = tap
        undo.callback(_put_back, module, tap, original)

    def _points_of(self, site: Site) -> Mapping[str, HookPoint]:
        found = {}
        for member in MEMBERS:
            name = f"{site.prefix}.hook_{member}"
            kind = RelationPoint if member == "mask" else HookPoint
            found[member] = self.points.setdefault(name, kind(name, site.layer, self))
        return found

    def _next_pass(
        self, name: str, denoiser: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Running:
        given = DenoiserCall.bind(denoiser, self.family.video_argument, args, kwargs)
        context = self._labels.context
        order, label = self._labels.begin(given.timestep)
        given = replace(given, order=order)

        def find() -> Pass:
            branches = self.family.branches(self.model, context, given)
            layouts = [self.family.layout(denoiser, given, index) for index in range(len(branches))]
            return label(name, tuple(map(Sample, branches, layouts)))

        return Running(find)

    def _end(self, *, finished: bool) -> None:
        ended, self._running = self._running, None
        self._forget()
        self._forget = _nothing
        if finished and ended is not None:
            for callback in tuple(self._callbacks["after"]):
                callback(ended.known.call)

    @contextmanager
    def _during(self, running: Running) -> Iterator[None]:
        before, self._running = self._running, running
        try:
            yield
        finally:
            self._running = before


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

    >>> from attnscope.testing.wan import tiny_wan
    >>> pipe = tiny_wan(num_layers=2)
    >>> with attach(pipe) as window:
    ...     sorted(window.taps), len(window.points)
    ([1, 2], 44)
    """
    return Attachment(model)


def attached_to(model: Any) -> Attachment | None:
    """Return the window that is open on a model, None if there is none.

    >>> from attnscope.testing.wan import tiny_wan
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
