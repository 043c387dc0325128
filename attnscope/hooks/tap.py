"""The tap: stands at an attention site, lets the model's own processor work, and shows what passes through."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from attnscope.errors import InputError, LayoutError, MaskError, UnsupportedModelError
from attnscope.hooks.attention import Attention, Offsets
from attnscope.hooks.current import CurrentCall
from attnscope.hooks.parallel import Heads, heads_here, over_heads
from attnscope.hooks.pictures import join_pictures, part_pictures
from attnscope.hooks.points import TRACE, HookPoint
from attnscope.hooks.seam import AttentionCall, route_calls
from attnscope_kernels import RelationError

if TYPE_CHECKING:
    from attnscope.families import Site

# Points whose value is not the same if something else shapes the attention, too.
_NEED_PLAIN_ATTENTION = ("mask", "scores", "pattern", "frame_mass", "token_frame", "lse")


class Tap(nn.Module):
    """Stands in for a processor, forwards everything to it, and passes what it computes by hook points.

    A tap that only looks calls the original attention with the very tensors it was given, so the video stays
    bit-identical. What costs time (scores, pattern, frame mass, token mass, log-sum-exp) is computed only while
    somebody listens. Made by `attach`; its points are `tap.hook_q` to `tap.hook_out`.
    """

    hook_q: HookPoint
    hook_k: HookPoint
    hook_v: HookPoint
    hook_mask: HookPoint
    hook_scores: HookPoint
    hook_pattern: HookPoint
    hook_frame_mass: HookPoint
    hook_token_frame: HookPoint
    hook_lse: HookPoint
    hook_z: HookPoint
    hook_out: HookPoint

    def __init__(
        self,
        inner: Callable[..., Tensor],
        site: Site,
        points: Mapping[str, HookPoint],
        current: CurrentCall,
        attachment: object,
    ) -> None:
        super().__init__()
        self.inner: Any = inner
        self.site = site
        self.attachment = attachment
        self.current = current
        self._listeners = current.listeners
        self._points = dict(points)
        self._num_calls = 0
        for member, point in points.items():
            self.add_module(f"hook_{member}", point)

    @property
    def _attention_backend(self) -> object:
        return self.inner._attention_backend

    @_attention_backend.setter
    def _attention_backend(self, backend: object) -> None:
        self.inner._attention_backend = backend

    @property
    def _parallel_config(self) -> object:
        return self.inner._parallel_config

    @_parallel_config.setter
    def _parallel_config(self, config: object) -> None:
        self.inner._parallel_config = config

    @override
    def forward(self, *args: object, **kwargs: object) -> object:
        """Run the processor; stand between it and its attention only if somebody listens to this tap."""
        if not any(point.is_active for point in self._points.values()):
            return self.inner(*args, **kwargs)
        self._num_calls = 0
        with self.current.in_layer(self.site.layer):
            with route_calls(self, self.inner):
                output = self.inner(*args, **kwargs)
            if isinstance(output, tuple):  # the video first, then the text that shares its attention
                return (self._pass("out", output[0]), *output[1:])
            return self._pass("out", output)

    def attend(self, call: AttentionCall) -> Tensor:
        """Answer one of the processor's attention calls, wherever its heads are computed."""
        index, self._num_calls = self._num_calls - self.site.num_unheard, self._num_calls + 1
        if index < 0:
            return call.run(call.query, call.key, call.value)
        if self.site.by_picture:
            return self._attend_by_picture(call, index)
        heads = heads_here(self.inner)
        if heads is None:
            return self._attend_by_video(call, index)
        layout = self.current.layout
        if len(layout.frame_segments) < len(layout.segments):
            raise UnsupportedModelError(
                expected="a sequence of frames alone",
                got="one that mixes in text or padding",
                where=f"at {self.site.module} under context parallelism",
                remedy="its processes hold stretches of both, use one process",
            )
        of_heads = functools.partial(self._attend_by_video, index=index, heads=heads)
        return over_heads(call, heads, of_heads, is_self=self.site.kind == "self")

    def _attend_by_picture(self, call: AttentionCall, index: int) -> Tensor:
        """Attend for all pictures of a video at once, as frames of one attention to the same text."""
        num_frames = self.current.layout.num_frames
        with self.current.in_pictures(call.query.shape[1]):
            whole = join_pictures(call, num_frames, self.site.module)
            return part_pictures(self._attend_by_video(whole, index), num_frames)

    def _attend_by_video(self, call: AttentionCall, index: int, heads: Heads | None = None) -> Tensor:
        """Attend for the whole batch, or for one video after another where the processor does so."""
        batch, num_samples = call.query.shape[0], self.current.num_samples
        if batch % num_samples == 0:
            return self._attend(call, batch // num_samples, heads)
        if batch == 1 and index < num_samples:
            with self.current.one_sample(index):
                return self._attend(call, 1, heads)
        raise LayoutError(
            expected=f"a batch of {num_samples} videos or one of them",
            got=f"{batch}",
            where=f"at {self.site.module}",
            remedy="call the whole denoiser, not one of its layers",
        )

    def _attend(self, call: AttentionCall, num_places: int, heads: Heads | None) -> Tensor:
        """Attend, and show each thing on the way to whoever listens; what they write is what counts from there on."""
        self._require_plain(call)
        query = self._pass("q", call.query)
        key = self._pass("k", call.key)
        value = self._pass("v", call.value)
        given = replace(call, query=query, key=key, value=value)
        attention = Attention(given, functools.partial(self._offsets, query, key), num_places)
        attention = self._write_relation(attention, heads)
        attention = self._write_map("scores", attention)
        attention = self._write_map("pattern", attention)
        attention = self._write_frame_mass(attention)
        self._look("token_frame", attention)
        self._look("lse", attention)
        return self._pass("z", attention.output())

    def _require_plain(self, call: AttentionCall) -> None:
        if call.constrained and any(self._points[member].has_listeners for member in _NEED_PLAIN_ATTENTION):
            raise UnsupportedModelError(
                expected="attention that nothing else shapes",
                got=f"{call.constrained} of the model's own",
                where=f"at {self.site.module}",
                remedy="listen to q, k, v, z and out only",
            )

    def _pass(self, member: str, value: Tensor) -> Tensor:
        point = self._points[member]
        passed: Tensor = point(value) if point.is_active else value
        return passed

    def _write_relation(self, attention: Attention, heads: Heads | None) -> Attention:
        point = self._points["mask"]
        if not self._is_needed(point):
            return attention
        try:
            relation = point(attention.no_relation)
            if heads is not None and relation.ndim > 2 and relation.shape[-3] > 1:
                relation = relation[..., heads.of(relation.shape[-3]), :, :]
            return attention.with_relation(relation)
        except RelationError as error:
            raise MaskError(f"{error} ({point.name})") from error

    def _write_map(self, member: str, attention: Attention) -> Attention:
        """Let `scores` or `pattern` (B, H, N, M) be changed."""
        point = self._points[member]
        if not self._is_needed(point):
            return attention
        attention.require_small(attention.call.key.shape[1], point.name)
        left = _let_change(attention.scores if member == "scores" else attention.pattern, point)
        if left is None:
            return attention
        return attention.with_scores(left) if member == "scores" else attention.with_pattern(left)

    def _write_frame_mass(self, attention: Attention) -> Attention:
        point = self._points["frame_mass"]
        if not self._is_needed(point):
            return attention
        left = _let_change(attention.frame_mass.mass, point)
        return attention if left is None else attention.with_frame_mass(left, point.name)

    def _look(self, member: str, attention: Attention) -> None:
        """Show `token_frame` (B, H, N, G) or `lse` (B, H, N), which nobody can write."""
        point = self._points[member]
        if not self._is_needed(point):
            return
        if member == "token_frame":
            attention.require_small(len(attention.offsets[1]) - 1, point.name)
        measured = attention.token_mass.mass if member == "token_frame" else attention.frame_mass.lse
        if point(measured) is not measured:
            raise InputError(
                expected="a hook that only looks",
                got="one that replaces a measurement",
                where=f"at {point.name}",
                remedy="return None, and write to hook_frame_mass or hook_mask to change the attention",
            )

    def _is_needed(self, point: HookPoint) -> bool:
        """Whether what passes here must be computed; a trace that only counts visits is shown nothing."""
        if point.has_listeners:
            return True
        # nnsight counts visits: a point that stays silent at one call would shift the number of every later one.
        if point.is_active:
            point(None)
        return False

    def _offsets(self, query: Tensor, key: Tensor) -> Offsets:
        rows = self.current.layout.offsets
        if rows[-1] != query.shape[1]:
            raise LayoutError(
                expected=f"{rows[-1]} query tokens in {len(rows) - 1} frames",
                got=f"{query.shape[1]}",
                where=f"at {self.site.module}",
                remedy="call the whole denoiser, not one of its layers",
            )
        # In cross-attention every text token is a group of its own.
        return (rows, rows) if self.site.kind == "self" else (rows, tuple(range(key.shape[1] + 1)))


def _let_change(value: Tensor, point: HookPoint) -> Tensor | None:
    """Show a copy of a value; return what the listeners leave of it, None if they only look."""
    shown = value.clone()
    left: Tensor = point(shown)
    return None if left is shown and torch.equal(shown.detach(), value.detach()) else left


@functools.cache
def tap_class(processor: type) -> type[Tap]:
    """Return a kind of tap that takes the arguments this kind of processor takes, and says so.

    diffusers drops arguments that are not named in `inspect.signature(processor.__call__)`.
    """

    def __call__(self: Tap, *args: object, **kwargs: object) -> object:
        # While nobody listens to any tap, an attention call costs these few questions and nothing else.
        if not (self._listeners or TRACE in self.__dict__ or self._forward_hooks or self._forward_pre_hooks):
            return self.inner(*args, **kwargs)
        return nn.Module.__call__(self, *args, **kwargs)

    __call__.__signature__ = inspect.signature(processor.__call__)  # type: ignore[attr-defined]
    return type(f"{processor.__name__}Tap", (Tap,), {"__call__": __call__, "__doc__": Tap.__doc__})
