"""Attaching to a loaded pipeline: taps at every attention site, labels for every call, and no trace afterwards."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from torch import nn
from typing_extensions import override

from attnscope.errors import InputError
from attnscope.families import Family, Site, find
from attnscope.families.layout import FrameLayout
from attnscope.families.protocols import Model
from attnscope.hooks.calls import Call, Part
from attnscope.hooks.current import CurrentCall
from attnscope.hooks.denoising import note_contexts
from attnscope.hooks.interrupts import INTERRUPTS, defer_interrupts
from attnscope.hooks.labels import Labels
from attnscope.hooks.parallel import Heads, heads_here
from attnscope.hooks.passes import DenoiserPasses
from attnscope.hooks.points import MEMBERS, Hook, HookPoint, NameFilter, RelationPoint, match_names
from attnscope.hooks.sites import TappedSite
from attnscope.hooks.tap import Tap
from attnscope.ranges import format_range
from attnscope.shots.svg import card


class Attachment:
    """Taps in a pipeline: by layer, their hook points by name, and the call that is running.

    `taps[7]` is the tap on the self-attention of layer 7 (1-based), `cross_taps[7]` the one on its
    cross-attention, `points["blocks.6.attn.hook_q"]` a hook point. Two transformers (Wan 2.2) share their points;
    `call.denoiser` says which one runs. `changes` says in words what is being done to the attention by whoever
    writes to it, for the record of whoever looks. Leaving the `with` block puts back the very objects that were there.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.family: Family = find(model)
        self.taps: dict[int, Tap] = {}
        self.cross_taps: dict[int, Tap] = {}
        self.points: dict[str, HookPoint] = {}
        self.changes: list[str] = []
        self.callbacks: dict[str, list[Callable[[Call], None]]] = {"before": [], "after": []}
        self.is_open = False
        self._current = CurrentCall()
        self._sites: list[TappedSite] = []
        self._seams: list[Callable[[], None]] = []
        # Of an attachment that nobody holds any more nothing stays, either.
        weakref.finalize(self, _close, self._seams).atexit = False
        self._undo = ExitStack()

    @defer_interrupts
    def open(self) -> Self:
        """Put the taps in. Called by `attach`."""
        INTERRUPTS.hold()
        self._undo.callback(INTERRUPTS.release)
        self._undo.callback(_close, self._seams)
        self.is_open = True
        try:
            labels = Labels(_SchedulerOf(self.model))
            for name, denoiser in self.family.denoisers(self.model).items():
                self._attach(name, denoiser, labels)
        except BaseException:
            self.detach()
            raise
        return self

    @property
    def call(self) -> Call:
        """The attention call that is running; step -1 and branch "unknown" between calls."""
        return self._current.call

    @property
    def layout(self) -> FrameLayout:
        """Which token belongs to which latent frame, in the attention call that is running.

        Raises
        ------
        LayoutError
            If no denoiser is running, or the videos of one batch have texts of different lengths.
        """
        return self._current.layout

    @property
    def parts(self) -> tuple[Part, ...]:
        """The runs of one guidance branch in the batch of the attention call that is running."""
        return self._current.parts

    def listen(self, names: NameFilter, hook: Hook) -> Callable[[], None]:
        """Let `hook(value, point)` listen at hook points; return the way to stop.

        Raises
        ------
        HookNameError
            If a name does not exist, with near matches, or the filter takes none.
        """
        matching = match_names(self.points, names, "Attachment.listen")
        removers = [self.points[name].add(hook) for name in matching]

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
        callbacks = self.callbacks[when]
        callbacks.append(callback)
        return lambda: callbacks.remove(callback)

    def divide_text(self, divide: Callable[[str, FrameLayout], FrameLayout]) -> Callable[[], None]:
        """Let `divide(branch, layout)` tell texts of different captions apart in what follows; return the way to stop.

        Only where text and video share an attention there is something to divide.
        """
        before, self._current.divide = self._current.divide, divide

        def stop() -> None:
            self._current.divide = before

        return stop

    @override
    def __repr__(self) -> str:
        state = "open" if self.is_open else "closed"
        layers = format_range(self.taps) if self.taps else "none"
        return f"<Attachment to {type(self.model).__name__}, {state}, taps in layers {layers}>"

    def _repr_html_(self) -> str:
        members: dict[str, list[int]] = {}
        for name, point in self.points.items():
            if point.has_listeners:
                members.setdefault(name.split(".", 2)[-1], []).append(point.layer)
        facts = [(member, f"heard in layers {format_range(layers)}") for member, layers in members.items()]
        changes = [("change", words) for words in self.changes]
        return card(repr(self), facts=[*(facts or [("listeners", "none")]), *changes])

    @property
    def heads(self) -> Heads | None:
        """Which heads the hook points show, where several processes share a video; None if all."""
        return next((heads_here(tap.inner) for tap in self.all_taps), None)

    @property
    def all_taps(self) -> tuple[Tap, ...]:
        """The taps of the first denoiser, in the order they run."""
        first = {id(tap) for taps in (self.taps, self.cross_taps) for tap in taps.values()}
        return tuple(each.tap for each in self._sites if each.tap is not None and id(each.tap) in first)

    @defer_interrupts
    def detach(self) -> None:
        """Put back the original processors, by identity, and remove everything else. Safe to call twice."""
        self._undo.close()
        self.is_open = False

    @defer_interrupts
    def __enter__(self) -> Self:
        return self

    @defer_interrupts
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()

    def follow(self) -> None:
        """Let taps stand at every site, whatever processors have been set since the last pass.

        Raises
        ------
        UnsupportedModelError
            If such a processor calls no attention function that is known.
        """
        for each in self._sites:
            before, tap = each.tap, each.follow()
            if tap is not None:
                taps = self.taps if each.site.kind == "self" else self.cross_taps
                if taps.setdefault(each.site.layer, tap) is before:
                    taps[each.site.layer] = tap

    def _attach(self, name: str, denoiser: nn.Module, labels: Labels) -> None:
        passes = DenoiserPasses(
            name, denoiser, self.model, self.family, labels, self._current, self.callbacks, self.follow
        )
        for site in self.family.sites(denoiser):
            tapped = TappedSite(denoiser, site, self._points_of(site), self._current, self, self._seams)
            self._undo.callback(tapped.put_back)
            self._sites.append(tapped)
        self.follow()
        self._undo.callback(note_contexts(denoiser, labels))
        self._undo.callback(passes.watch())

    def _points_of(self, site: Site) -> Mapping[str, HookPoint]:
        found = {}
        for member in MEMBERS:
            name = f"{site.prefix}.hook_{member}"
            kind = RelationPoint if member == "mask" else HookPoint
            found[member] = self.points.setdefault(name, kind(name, site.layer, self._current))
        return found


def _close(seams: list[Callable[[], None]]) -> None:
    while seams:
        seams.pop()()


@dataclass(frozen=True)
class _SchedulerOf:
    """Asks a pipeline for the scheduler that it has now; a denoiser has none."""

    model: Model

    def __call__(self) -> object:
        return getattr(self.model, "scheduler", None)


@defer_interrupts
def attach(model: Model) -> Attachment:
    """Attach to the attention of a loaded video pipeline.

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

    Examples
    --------
    >>> from attnscope.testing.wan import tiny_wan
    >>> pipe = tiny_wan(num_layers=2)
    >>> with attach(pipe) as attachment:
    ...     sorted(attachment.taps), len(attachment.points)
    ([1, 2], 44)
    """
    return Attachment(model).open()


def find_attachment(model: Model) -> Attachment | None:
    """Return the attachment that is open on a model, None if there is none.

    >>> from attnscope.testing.wan import tiny_wan
    >>> pipe = tiny_wan(num_layers=1)
    >>> with attach(pipe) as attachment:
    ...     find_attachment(pipe) is attachment
    True
    >>> find_attachment(pipe) is None
    True
    """
    family = find(model)
    for denoiser in family.denoisers(model).values():
        for site in family.sites(denoiser):
            processor = denoiser.get_submodule(site.module).processor
            if isinstance(processor, Tap):
                there = processor.attachment
                if isinstance(there, Attachment) and there.is_open:
                    return there
    return None


def find_or_attach(model: Model | Attachment) -> tuple[Attachment, bool]:
    """Return the attachment that is open on a model, else a new one; and whether it is new."""
    if isinstance(model, Attachment):
        return model, False
    there = find_attachment(model)
    return (attach(model), True) if there is None else (there, False)


@contextmanager
@defer_interrupts
def join_or_attach(model: Model | Attachment) -> Iterator[Attachment]:
    """Use the attachment that is open on a model, and leave it open; attach for a while where there is none.

    So that a probe can look at a model while an intervention changes it.

    Raises
    ------
    InputError
        If an attachment is given that was closed.
    """
    attachment, is_new = find_or_attach(model)
    if not attachment.is_open:
        raise InputError(
            expected="an attachment that is open",
            got="one that was closed",
            where=f"on a {type(attachment.model).__name__}",
            remedy="attach to the pipeline again, or give the pipeline itself",
        )
    try:
        yield attachment
    finally:
        if is_new:
            attachment.detach()
