"""A text encoder that is in memory only while text is encoded, and gone when denoising begins."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from attnscope.families.protocols import Model, Pipeline

Encoded = tuple[Tensor | None, ...]

_KEPT = "attnscope_encoder"  # the name under which a pipeline keeps it
_REMEMBERED = 1024  # texts; those of the largest encoders take 4 MiB each


class DroppedEncoder:
    """Reads the text encoders of a pipeline when it encodes a text, and drops them when its denoiser is called.

    What was encoded is remembered, a text as the denoiser reads it, so that none is encoded twice. A text that comes
    later brings the encoders back from disk.

    Parameters
    ----------
    pipe
        A pipeline without its text encoders.
    sources : mapping of str to callable
        How each of them is read, by its name in the pipeline; it goes to where the pipeline runs.
    denoisers : sequence of modules
        Before these run the encoders are dropped.
    """

    def __init__(
        self, pipe: Pipeline, sources: Mapping[str, Callable[[], nn.Module]], denoisers: list[nn.Module]
    ) -> None:
        self._pipe, self._sources = pipe, dict(sources)
        self._encode = pipe.encode_prompt
        self._known: dict[str, Encoded] = {}
        drop = cast(Any, torch.compiler).disable(lambda module, args: self.drop())
        for denoiser in denoisers:
            denoiser.register_forward_pre_hook(drop)

        @functools.wraps(self._encode)
        def encode_prompt(*args: object, **kwargs: object) -> Encoded:
            return self._encode_once(*args, **kwargs)

        vars(pipe)["encode_prompt"] = encode_prompt
        vars(pipe)[_KEPT] = self

    @property
    def is_there(self) -> bool:
        """Whether the encoders are in memory."""
        return any(getattr(self._pipe, name) is not None for name in self._sources)

    def fetch(self) -> None:
        """Read the encoders, where they are not in memory."""
        if self.is_there:
            return
        device = self._pipe.device
        for name, read in self._sources.items():
            setattr(self._pipe, name, read().eval().to(device))

    def drop(self) -> None:
        """Let go of the encoders, and give their memory back."""
        if not self.is_there:
            return
        for name in self._sources:
            setattr(self._pipe, name, None)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _encode_once(self, *args: object, **kwargs: object) -> Encoded:
        """Encode as the pipeline does; texts that were encoded before are remembered."""
        given = (*args, *kwargs.values())
        if any(isinstance(each, Tensor) for each in given):  # it is encoded already, at least in part
            self.fetch()
            found: Encoded = self._encode(*args, **kwargs)
            return found
        key = repr((args, sorted(kwargs.items())))
        if key not in self._known:
            self.fetch()
            if len(self._known) >= _REMEMBERED:
                self._known.pop(next(iter(self._known)))
            with torch.no_grad():
                self._known[key] = tuple(self._encode(*args, **kwargs))
        return self._known[key]


def find_dropped(pipe: Model) -> DroppedEncoder | None:
    """Return what reads a pipeline's text encoders when they are needed; None where they stay in memory.

    >>> find_dropped(object()) is None
    True
    """
    found = vars(pipe).get(_KEPT) if hasattr(pipe, "__dict__") else None
    return found if isinstance(found, DroppedEncoder) else None
