"""What tests of the kernels share: an eye on memory."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Memory(TorchDispatchMode):
    """Records the largest tensor and the largest sum of bytes that were alive at once."""

    def __init__(self):
        super().__init__()
        self.alive, self.largest, self.peak = {}, 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._watch(tensor.untyped_storage())
        self.peak = max(self.peak, sum(self.alive.values()))
        return result

    def _watch(self, storage):
        place = storage._cdata
        if place not in self.alive:
            self.alive[place] = storage.nbytes()
            self.largest = max(self.largest, storage.nbytes())
            weakref.finalize(storage, self.alive.pop, place, None)


@pytest.fixture
def memory_of():
    """What `with memory_of() as memory:` allocates: `memory.largest` and `memory.peak`, in bytes."""
    return Memory
