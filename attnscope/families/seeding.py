"""What a run draws at random comes from its own generator, whoever draws it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def keep_generators(pipe: object) -> Iterator[None]:
    """Leave PyTorch's own generators, of the processor and of the devices of a pipeline, as they were."""
    parts: list[Any] = [
        each for each in getattr(pipe, "components", {}).values() if isinstance(each, nn.Module)
    ]
    devices = {part.device for part in parts if hasattr(part, "device") and part.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(devices, key=str)):
        yield


@contextmanager
def seed_draws(pipe: object, generator: torch.Generator | Sequence[torch.Generator] | None) -> Iterator[None]:
    """Let what is drawn from PyTorch's own generator follow from the one that the run is given.

    Some pipelines draw noise beside it, and that of Wan does not hand it to a scheduler that adds noise at each step:
    the same seed would be another film each time. Nothing is drawn from `generator` itself.
    """
    if generator is None:
        yield
        return
    first = generator if isinstance(generator, torch.Generator) else generator[0]
    with keep_generators(pipe):
        # not the seed itself: the first noise would come once more
        torch.manual_seed(zlib.crc32(first.get_state().cpu().numpy().tobytes()))
        yield
