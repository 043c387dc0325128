"""What a done marker says: that a unit of work is there, and of which run, place, labels and bytes.

A checksum knows its own bytes only: two chunks that changed places, or a chunk out of another store, have good ones.
So the marker of a unit is a number made of two digests, and 0 where nothing is done: the high half binds the labels
(which run, which prompt and step, which timestep and sigma) and is looked at whenever a store is opened; the low half
binds the bytes of the unit's chunks to those labels, and is looked at whenever they are read.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass

_HALF = 32


@dataclass(frozen=True)
class Place:
    """Which unit of which run: ``run`` is its fingerprint, ``prompt`` and ``step`` count from 0 in the store.

    >>> here, there = Place("a run", 0, 1, 999.0, 1.0), Place("a run", 0, 2, 999.0, 1.0)
    >>> marker = here.marker({"mass": b"numbers"})
    >>> here.has_labels_of(marker), there.has_labels_of(marker), here.marker({"mass": b"others"}) == marker
    (True, False, False)
    """

    run: str
    prompt: int
    step: int
    timestep: float
    sigma: float

    def marker(self, chunks: Mapping[str, bytes]) -> int:
        """Return the marker of the unit that lies here, given the file of each of its chunks by array."""
        digest = hashlib.sha256(self._digest())
        for name in sorted(chunks):
            digest.update(struct.pack("<Q", len(chunks[name])) + name.encode())
            digest.update(chunks[name])
        return _first_half(self._digest()) << _HALF | max(_first_half(digest.digest()), 1)

    def has_labels_of(self, marker: int) -> bool:
        """Say whether a marker was written for this place and these labels."""
        return marker >> _HALF == _first_half(self._digest())

    def _digest(self) -> bytes:
        numbers = struct.pack("<qqdd", self.prompt, self.step, self.timestep, self.sigma)
        return hashlib.sha256(self.run.encode() + numbers).digest()


def _first_half(digest: bytes) -> int:
    return int.from_bytes(digest[: _HALF // 8], "little")
