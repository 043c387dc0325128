"""One attention site while a model is attached to: a tap stands in for its processor, whichever that is."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, cast

from torch import Tensor, nn

from attnscope.errors import InputError
from attnscope.families import Site
from attnscope.hooks.current import CurrentCall
from attnscope.hooks.points import HookPoint
from attnscope.hooks.seam import open_seam
from attnscope.hooks.tap import Tap, tap_class

# Where diffusers keeps the processors that fused projections have replaced, to put them back one day.
_KEPT = "original_attn_processors"


class TappedSite:
    """A site, its tap, and the way back to the very object that was there.

    A processor that somebody sets meanwhile is followed: at the next pass the tap stands around it, and it is what
    stays behind in the end.
    """

    def __init__(
        self,
        denoiser: nn.Module,
        site: Site,
        points: Mapping[str, HookPoint],
        current: CurrentCall,
        attachment: object,
        seams: list[Callable[[], None]],
    ) -> None:
        self.site = site
        self._denoiser = denoiser
        self._module: Any = denoiser.get_submodule(site.module)
        self._points, self._current, self._attachment = points, current, attachment
        self._seams = seams
        self.tap: Tap | None = None

    def follow(self) -> Tap | None:
        """Let a tap stand here whatever has been set meanwhile; return it if it is another one than before.

        Raises
        ------
        InputError
            If the site belongs to another attachment.
        UnsupportedModelError
            If the processor calls no attention function that is known.
        """
        processor = self._module.processor
        if processor is self.tap:
            return None
        if not self._is_own(processor):
            processor = self._tap_around(_without_closed(processor, self.site))
            self._module.processor = processor
        self.tap = processor
        return self.tap

    def put_back(self) -> None:
        """Leave the processor without the tap."""
        processor = self._module.processor
        if self._is_own(processor):
            # A plain object cannot take the place of a registered child module; the child has to leave first.
            del self._module.processor
            self._module.processor = processor.inner
        kept = self._denoiser.__dict__.get(_KEPT) or {}
        for name, each in kept.items():
            kept[name] = each.inner if self._is_own(each) else each

    def _tap_around(self, processor: Callable[..., Tensor]) -> Tap:
        self._seams.append(open_seam(processor))
        kind = tap_class(cast("Hashable", type(processor)))
        return kind(processor, self.site, self._points, self._current, self._attachment)

    def _is_own(self, processor: object) -> bool:
        return isinstance(processor, Tap) and processor.attachment is self._attachment


def _without_closed(processor: Callable[..., Tensor], site: Site) -> Callable[..., Tensor]:
    """Take off taps that were read while an attachment was open and set back when it was closed."""
    while isinstance(processor, Tap):
        if getattr(processor.attachment, "is_open", True):
            raise InputError(
                expected="a model without taps",
                got="one that is attached already",
                where=f"at {site.module}",
                remedy="use the attachment that is there, or detach it first",
            )
        processor = processor.inner
    return processor
