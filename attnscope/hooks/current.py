"""What the attention call that runs now is about, and who listens to any of it: what taps and hook points share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from attnscope.errors import LayoutError
from attnscope.families.layout import FrameLayout
from attnscope.hooks.calls import NO_CALL, Call, Part, Pass, Running, parts_of


class CurrentCall:
    """The attention call that is running, seen from its taps and hook points.

    `listeners` holds something for everybody who listens anywhere in the model; while it is empty, taps do not stand
    between the model and its attention. `divide` tells the texts of different captions apart in the layout of a
    guidance branch, where somebody knows them.
    """

    def __init__(self) -> None:
        self.listeners: set[object] = set()
        self.running: Running | None = None
        self.divide: Callable[[str, FrameLayout], FrameLayout] | None = None
        self._samples = slice(None)
        self._picture_tokens = 0
        self._branch = ""
        self._layer = 0

    @property
    def call(self) -> Call:
        """Its label; step -1 and branch "unknown" between calls."""
        if self._pass is None:
            return NO_CALL
        branch = self._branch or "+".join(part.branch for part in self.parts)
        return replace(self._pass.call, layer=self._layer, branch=branch)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The runs of one guidance branch in its batch."""
        return () if self._pass is None else parts_of(self._pass.samples[self._samples])

    @property
    def num_samples(self) -> int:
        """How many videos are in its batch; 1 between calls."""
        return 1 if self._pass is None else len(self._pass.samples[self._samples])

    @property
    def layout(self) -> FrameLayout:
        """Which token belongs to which latent frame.

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
        (layout,) = layouts
        return (
            FrameLayout.uniform(layout.num_frames, self._picture_tokens) if self._picture_tokens else layout
        )

    @contextmanager
    def during(self, running: Running) -> Iterator[None]:
        """Let another pass be the one that runs, for a while."""
        before, self.running = self.running, running
        try:
            yield
        finally:
            self.running = before

    @contextmanager
    def in_layer(self, layer: int) -> Iterator[None]:
        """Let the call be that of a layer, for a while."""
        before, self._layer = self._layer, layer
        try:
            yield
        finally:
            self._layer = before

    @contextmanager
    def in_branch(self, part: Part) -> Iterator[None]:
        """Let the call be about one guidance branch, for a while."""
        before, self._branch = self._branch, part.branch
        try:
            yield
        finally:
            self._branch = before

    @contextmanager
    def one_sample(self, index: int) -> Iterator[None]:
        """Let the call be about a single video of the batch, for a while."""
        before, self._samples = self._samples, slice(index, index + 1)
        try:
            yield
        finally:
            self._samples = before

    @contextmanager
    def in_pictures(self, num_tokens: int) -> Iterator[None]:
        """Let the frames be whole pictures of so many tokens, for a while, whatever else the model attends to."""
        before, self._picture_tokens = self._picture_tokens, num_tokens
        try:
            yield
        finally:
            self._picture_tokens = before

    @property
    def _pass(self) -> Pass | None:
        return None if self.running is None else self.running.known
