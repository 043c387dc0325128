"""The arrays of a store as zarr writes them, encoded and decoded in memory so that the disk sees finished bytes only.

Every array, coordinates too, ends in a CRC-32C, because zarr's defaults read many damaged chunks without a
word. ``mass`` has one chunk per unit of work (prompt, step), so a chunk is never read, changed and written back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr
import zarr.buffer.cpu
from zarr.abc.buffer import Buffer
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import MemoryStore

from attnscope._types import Document, Numbers
from attnscope.schema import DIMS, DONE, MASS, PROMPT, SIGMA, STEP, TEXT_DIMS, TEXT_MASS, TIMESTEP
from attnscope.storage.header import StoreHeader

ChunkIndex = tuple[int, ...]

# What zarr raises about bytes or metadata that are not what they should be; nothing here is about the disk.
DAMAGE = (
    ValueError,
    RuntimeError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    MemoryError,
)

# Known only once a step has run.
STEP_ARRAYS = (TIMESTEP, SIGMA)


class ChunkCodec:
    """Turns the values of one array chunk into the bytes of its file, and back.

    ``document`` is the array's ``zarr.json``. Opening or decoding damaged bytes raises one of ``DAMAGE``.
    """

    def __init__(self, document: bytes) -> None:
        self._files: dict[str, Buffer] = {"zarr.json": _buffer(document)}
        array = zarr.open_array(MemoryStore(self._files), mode="r+", zarr_format=3)
        # A chunk that holds nothing but the fill value must exist all the same, or it could not be missed.
        self._array = array.with_config({"write_empty_chunks": True})

    @property
    def num_chunks(self) -> ChunkIndex:
        """How many chunks there are along each dim."""
        return tuple(self._array.cdata_shape)

    def encode(self, index: ChunkIndex, values: Numbers) -> bytes:
        """Return the file content of one chunk."""
        self._array.set_block_selection(index, values)
        return self._files.pop(chunk_name(index)).to_bytes()

    def decode(self, index: ChunkIndex, content: bytes) -> Numbers:
        """Return the values of one chunk."""
        self._files[chunk_name(index)] = _buffer(content)
        try:
            return np.asarray(self._array.get_block_selection(index))
        finally:
            self._files.pop(chunk_name(index))


def chunk_name(index: ChunkIndex) -> str:
    """Return the file name of a chunk: flat, so that a unit of work costs files and no directories."""
    return ".".join(["c", *map(str, index)])


def chunk_index(name: str) -> ChunkIndex | None:
    """Return the chunk that a file name stands for, or None if it is no chunk."""
    prefix, *numbers = name.split(".")
    whole = all(number.isascii() and number.isdigit() and len(number) < 10 for number in numbers)
    return tuple(map(int, numbers)) if prefix == "c" and numbers and whole else None


def unit_index(name: str, prompt: int, step: int) -> ChunkIndex:
    """Return which chunk of an array belongs to a unit of work."""
    num_more = {MASS: len(DIMS) - 2, TEXT_MASS: len(TEXT_DIMS) - 2, DONE: 0}[name]
    return (prompt, step, *[0] * num_more)


def initial_files(header: StoreHeader) -> tuple[Document, dict[str, bytes]]:
    """Return the metadata of every array, and the chunks of the coordinates that are known from the start."""
    files: dict[str, Buffer] = {}
    memory = MemoryStore(files)
    coordinates = header.coordinates()
    for name, (dims, values) in coordinates.items():
        if name in STEP_ARRAYS:
            _create(memory, name, values.shape, dims, (1,), values.dtype, np.nan)
        else:
            fill = "" if values.dtype.kind == "U" else 0
            _create(memory, name, values.shape, dims, values.shape, values.dtype, fill)[...] = values
    lengths = {dim: len(coordinates[dim][1]) for dim in DIMS}
    variables = (MASS, TEXT_MASS) if header.has_text_mass else (MASS,)
    for name, dims in {MASS: DIMS, TEXT_MASS: TEXT_DIMS}.items():
        if name in variables:
            shape = tuple(lengths[dim] for dim in dims)
            _create(memory, name, shape, dims, (1, 1, *shape[2:]), np.dtype("float32"), np.nan)
    _create(memory, DONE, (lengths[PROMPT], lengths[STEP]), (PROMPT, STEP), (1, 1), np.dtype(np.uint64), 0)
    contents = {path: content.to_bytes() for path, content in files.items()}
    documents = {
        path.removesuffix("/zarr.json"): json.loads(content)
        for path, content in contents.items()
        if path.endswith("/zarr.json")
    }
    return documents, {path: content for path, content in contents.items() if not path.endswith("zarr.json")}


def document_bytes(document: Mapping[str, object]) -> bytes:
    """Return metadata as the one text that stands for it, so that any changed byte shows."""
    return json.dumps(document, indent=2, sort_keys=True, allow_nan=False).encode()


def _create(
    memory: MemoryStore,
    name: str,
    shape: ChunkIndex,
    dims: tuple[str, ...],
    chunks: ChunkIndex,
    dtype: np.dtype[Any],
    fill: float | str,
) -> zarr.Array[Any]:
    return zarr.create_array(
        memory,
        name=name,
        shape=shape,
        chunks=chunks,
        # Fixed-width text has no place in the zarr 3 specification, and zarr warns about it.
        dtype="string" if dtype.kind == "U" else dtype,
        fill_value=fill,
        dimension_names=dims,
        compressors=[ZstdCodec(level=3), Crc32cCodec()],
        chunk_key_encoding={"name": "default", "separator": "."},
        config={"write_empty_chunks": True},
    )


def _buffer(content: bytes) -> Buffer:
    return zarr.buffer.cpu.Buffer.from_bytes(content)
