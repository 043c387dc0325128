"""The chunk files of a store: where each lies, what is in it, and what to say where it is not what was written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attnscope._types import Numbers
from attnscope.errors import StoreError
from attnscope.storage.arrays import DAMAGE, ChunkCodec, ChunkIndex, chunk_name, document_bytes
from attnscope.storage.disk import explain


class Chunks:
    """The chunks of all arrays of one store; ``documents`` holds the ``zarr.json`` of each array."""

    def __init__(self, path: Path, documents: Mapping[str, Mapping[str, object]]) -> None:
        self.path = path
        self._codecs = {name: ChunkCodec(document_bytes(each)) for name, each in documents.items()}

    def file(self, name: str, index: ChunkIndex) -> Path:
        """Return where a chunk lies."""
        return self.path / name / chunk_name(index)

    def encode(self, name: str, index: ChunkIndex, values: Numbers) -> bytes:
        """Return what the file of a chunk holds."""
        return self._codecs[name].encode(index, values)

    def content(self, name: str, index: ChunkIndex) -> bytes | None:
        """Return the bytes of a chunk, None where there is no file."""
        file = self.file(name, index)
        with explain(file):
            if not file.exists():
                return None
            if file.is_file():
                return file.read_bytes()
        raise damage_error(file)  # a folder, or a pipe that nobody would write to

    def decode(self, name: str, index: ChunkIndex, content: bytes | None) -> Numbers:
        """Return the values of a chunk.

        Raises
        ------
        StoreError
            The bytes are damaged, or there are none.
        """
        if content is None:
            raise damage_error(self.file(name, index))
        try:
            return self._codecs[name].decode(index, content)
        except DAMAGE as error:
            raise damage_error(self.file(name, index)) from error


def damage_error(file: Path) -> StoreError:
    """Say that a chunk is not what was written."""
    return StoreError(
        expected="a whole chunk",
        got="a missing or damaged one",
        where=f"at {file}",
        remedy="`attnscope validate` lists all of them, delete the unit's done marker to measure it again",
    )


def displaced_error(file: Path) -> StoreError:
    """Say that a chunk is whole, but was not written for this place."""
    return StoreError(
        expected="the chunk and the labels that were stored here",
        got="those of another step, run or store",
        where=f"at {file}",
        remedy="restore the store from a copy, or delete the unit's done marker to measure it again",
    )
