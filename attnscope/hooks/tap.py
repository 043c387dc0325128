"""The tap: stands at an attention site, lets the model's own processor work, and shows what passes through."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor, nn

from attnscope.errors import InputError, LayoutError, MaskError, UnsupportedModelError
from attnscope.hooks.measures import Measures, Offsets
from attnscope.hooks.parallel import Heads, heads_here, over_heads
from attnscope.hooks.points import TRACE, HookPoint
from attnscope.hooks.seam import AttentionCall, listening
from attnscope_kernels import RelationError, shot_attention

if TYPE_CHECKING:
    from attnscope.families import Site
    from attnscope.layout import FrameLayout

# Points whose value is not the same if something else shapes the attention, too.
_NEED_PLAIN_ATTENTION = ("mask", "scores", "pattern", "frame_mass", "token_frame", "lse")


class Surroundings(Protocol):
    """What a tap must be told, and whom it tells when it runs."""

    @property
    def layout(self) -> FrameLayout:
        """The layout of the attention call that is running."""

    @property
    def num_samples(self) -> int:
        """How many videos are in the batch of the attention call that is running."""

    @property
    def raised_hands(self) -> set[object]:
        """Something for everybody who listens to any tap; empty means that nobody does."""

    def enter_layer(self, layer: int) -> None:
        """Note that the attention of this layer runs now; 0 when it is over."""

    def one_sample(self, index: int) -> AbstractContextManager[None]:
        """Let the attention call be about a single video of the batch for a while."""


class Tap(nn.Module):
    """Stands in for a processor, forwards everything to it, and passes what it computes by hook points.

    A tap that only looks calls the original attention with the very tensors it was given, so the video stays
    bit-identical. What costs time (scores, pattern, frame mass, token mass, log-sum-exp) is computed only while
    somebody listens. Made by `attach`; its points are `tap.hook_q` to `tap.hook_out`.
    """

    def __init__(
        self, inner: Callable[..., Tensor], site: Site, points: Mapping[str, HookPoint], owner: Surroundings
    ) -> None:
        super().__init__()
        self.inner: Any = inner
        self.site = site
        self._owner = owner
        self._num_answered = 0
        self._points = dict(points)
        self._raised_hands = owner.raised_hands
        for member, point in points.items():
            self.add_module(f"hook_{member}", point)

    @property
    def owner(self) -> Surroundings:
        """Whoever made the tap: the attachment it belongs to."""
        return self._owner

    @property
    def _attention_backend(self) -> Any:
        return self.inner._attention_backend

    @_attention_backend.setter
    def _attention_backend(self, backend: Any) -> None:
        self.inner._attention_backend = backend

    @property
    def _parallel_config(self) -> Any:
        return self.inner._parallel_config

    @_parallel_config.setter
    def _parallel_config(self, config: Any) -> None:
        self.inner._parallel_config = config

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the processor; listen in only if somebody listens to this tap."""
        if not any(point.is_awake for point in self._points.values()):
            return self.inner(*args, **kwargs)
        self._owner.enter_layer(self.site.layer)
        self._num_answered = 0
        try:
            with listening(self, self.inner):
                output = self.inner(*args, **kwargs)
            if isinstance(output, tuple):  # the video first, then the text that shares its attention
                return (self._pass("out", output[0]), *output[1:])
            return self._pass("out", output)
        finally:
            self._owner.enter_layer(0)

    def attend(self, call: AttentionCall) -> Tensor:
        """Answer one of the processor's attention calls: the whole batch, or one video after another."""
        index, self._num_answered = self._num_answered, self._num_answered + 1
        if index < self.site.num_unheard:
            return call.run(call.query, call.key, call.value)
        heads = heads_here(self.inner)
        if heads is None:
            return self._divide(call, index - self.site.num_unheard)
        layout = self._owner.layout
        if len(layout.frame_segments) < len(layout.segments):
            raise UnsupportedModelError(
                expected="a sequence of frames alone",
                got="one that mixes in text or padding",
                where=f"at {self.site.module} under context parallelism",
                remedy="its processes hold stretches of both, use one process",
            )
        return over_heads(
            call, heads, lambda whole: self._divide(whole, index - self.site.num_unheard, heads),
            is_self=self.site.kind == "self",
        )  # fmt: skip

    def _divide(self, call: AttentionCall, index: int, heads: Heads | None = None) -> Tensor:
        batch, num_samples = call.query.shape[0], self._owner.num_samples
        if batch % num_samples == 0:
            return self._answer(call, batch // num_samples, heads)
        if batch == 1 and index < num_samples:
            with self._owner.one_sample(index):
                return self._answer(call, 1, heads)
        raise LayoutError(
            expected=f"a batch of {num_samples} videos or one of them",
            got=f"{batch}",
            where=f"at {self.site.module}",
            remedy="call the whole denoiser, not one of its layers",
        )

    def _answer(self, call: AttentionCall, num_places: int, heads: Heads | None) -> Tensor:
        """Show what goes in, weigh, measure, show what comes out."""
        if call.constrained and any(self._points[member].is_heard for member in _NEED_PLAIN_ATTENTION):
            raise UnsupportedModelError(
                expected="attention that nothing else shapes",
                got=f"{call.constrained} of the model's own",
                where=f"at {self.site.module}",
                remedy="listen to q, k, v, z and out only",
            )
        query = self._pass("q", call.query)
        key = self._pass("k", call.key)
        value = self._pass("v", call.value)
        measures = Measures(
            query,
            key,
            call.scale,
            lambda: self._offsets(query, key),
            mask=call.mask,
            num_places=num_places,
        )
        self._ask_for_mask(measures, heads)
        for member in ("scores", "pattern", "frame_mass"):
            self._edit(member, measures)
        output = self._weigh(call, query, key, value, measures)
        for member in ("token_frame", "lse"):
            self._show(member, measures)
        return self._pass("z", output)

    def _weigh(
        self, call: AttentionCall, query: Tensor, key: Tensor, value: Tensor, measures: Measures
    ) -> Tensor:
        if measures.is_edited:
            return measures.weigh(value)
        bias = measures.bias if measures.is_ruled else None
        if bias is None:
            return call.run(query, key, value)
        if measures.is_weighed:
            return measures.attend(value)
        rows, groups = measures.offsets
        return shot_attention(
            query, key, value, bias, query_offsets=rows, key_offsets=groups, scale=call.scale
        )

    def _ask_for_mask(self, measures: Measures, heads: Heads | None) -> None:
        point = self._points["mask"]
        if not point.is_heard:
            return self._stay_in_step(point)
        try:
            relation = point(measures.no_bias())
            if heads is not None and relation.ndim > 2 and relation.shape[-3] > 1:
                relation = relation[..., heads.of(relation.shape[-3]), :, :]
            measures.impose(relation)
        except RelationError as error:
            raise MaskError(f"{error} ({point.name})") from error

    def _edit(self, member: str, measures: Measures) -> None:
        point = self._points[member]
        if not point.is_heard:
            return self._stay_in_step(point)
        if member == "frame_mass":
            return measures.ask_for_mass(point)
        measures.edit(member, point)

    def _show(self, member: str, measures: Measures) -> None:
        point = self._points[member]
        if not point.is_heard:
            return self._stay_in_step(point)
        measured = measures.measure(member, point.name)
        if point(measured) is not measured:
            raise InputError(
                expected="a hook that only looks",
                got="one that replaces a measurement",
                where=f"at {point.name}",
                remedy="return None, and write to hook_frame_mass or hook_mask to change the attention",
            )

    def _pass(self, member: str, value: Tensor) -> Tensor:
        point = self._points[member]
        passed: Tensor = point(value) if point.is_awake else value
        return passed

    def _stay_in_step(self, point: HookPoint) -> None:
        # nnsight counts visits: a point that stays silent at one call would shift the number of every later one.
        if point.is_awake:
            point(None)

    def _offsets(self, query: Tensor, key: Tensor) -> Offsets:
        rows = self._owner.layout.offsets
        if rows[-1] != query.shape[1]:
            raise LayoutError(
                expected=f"{rows[-1]} query tokens in {len(rows) - 1} frames",
                got=f"{query.shape[1]}",
                where=f"at {self.site.module}",
                remedy="call the whole denoiser, not one of its layers",
            )
        # In cross-attention every text token is a group of its own.
        return (rows, rows) if self.site.kind == "self" else (rows, tuple(range(key.shape[1] + 1)))


@functools.cache
def tap_class(processor: type) -> type[Tap]:
    """Return a kind of tap that takes the arguments this kind of processor takes, and says so.

    diffusers drops arguments that are not named in `inspect.signature(processor.__call__)`.
    """

    def __call__(self: Tap, *args: Any, **kwargs: Any) -> Any:
        # While nobody listens to any tap, an attention call costs these few questions and nothing else.
        if not (
            self._raised_hands or TRACE in self.__dict__ or self._forward_hooks or self._forward_pre_hooks
        ):
            return self.inner(*args, **kwargs)
        return nn.Module.__call__(self, *args, **kwargs)

    __call__.__signature__ = inspect.signature(processor.__call__)  # type: ignore[attr-defined]
    return type(f"{processor.__name__}Tap", (Tap,), {"__call__": __call__, "__doc__": Tap.__doc__})
