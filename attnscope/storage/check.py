"""Looking at every byte of a store, and saying in one line each what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path

import numpy as np

from attnscope._types import Numbers
from attnscope.errors import AttnscopeError, quote
from attnscope.schema import DONE, MASS, TEXT_MASS, row_violations
from attnscope.storage.arrays import (
    DAMAGE,
    STEP_ARRAYS,
    ChunkCodec,
    ChunkIndex,
    chunk_index,
    chunk_name,
    document_bytes,
    unit_index,
)
from attnscope.storage.chunks import displaced_error
from attnscope.storage.disk import explain
from attnscope.storage.markers import Place
from attnscope.storage.root import ROOT_FILE, Root, load_root

_READ_AGAIN = "restore it from a copy or measure again"


def validate_store(path: str | PathLike[str]) -> list[str]:
    """Check a store to the last byte, and list what is wrong with it, one line each; empty means it is sound.

    Found are damaged metadata, chunks whose checksum does not fit (coordinates and done markers too), units
    that are marked done but have no data, values that are not finite, rows that do not sum to 1, and in a
    finalised store units that are not done. Damage to one file hides none in the others, and nothing that is
    found on the disk raises.

    >>> validate_store("/nowhere/sweep.zarr")
    ['expected an attention store, got nothing at /nowhere/sweep.zarr; give the path of a store']
    """
    place = Path(path)
    try:
        root = load_root(place)
    except AttnscopeError as error:
        return [str(error), *_check_without_root(place)]
    return list(_check(place, root))


def _check(place: Path, root: Root) -> Iterator[str]:
    codecs = {name: ChunkCodec(document_bytes(document)) for name, document in root.documents.items()}
    for name, document in root.documents.items():
        if _content(place / name / ROOT_FILE) != document_bytes(document):
            yield f"expected the metadata that was written, got other at {place / name / ROOT_FILE}; {_READ_AGAIN}"
    wanted = root.header.coordinates()
    for name, codec in codecs.items():
        if name not in (MASS, TEXT_MASS, DONE):
            values = None if name in STEP_ARRAYS else wanted[name][1]
            yield from _check_coordinate(place / name, codec, values)
    done, lines = _check_markers(place / DONE, codecs[DONE])
    yield from lines
    yield from _check_units(place, root, codecs, done)
    yield from _check_missing(place, root, set(done))


def _check_coordinate(directory: Path, codec: ChunkCodec, wanted: Numbers | None) -> Iterator[str]:
    for index, content in _chunks(directory):
        values = _decode(codec, index, content)
        if values is None:
            yield _bad_chunk(directory / chunk_name(index))
        elif wanted is not None and not np.array_equal(values.astype(wanted.dtype), wanted):
            yield f"expected what the header says, got {quote(values.tolist())} at {directory}; {_READ_AGAIN}"
    if wanted is not None and _content(directory / chunk_name((0,) * wanted.ndim)) is None:
        yield _missing_chunk(directory / chunk_name((0,) * wanted.ndim))


def _check_markers(directory: Path, codec: ChunkCodec) -> tuple[dict[ChunkIndex, int], list[str]]:
    done, lines = {}, []
    for unit, content in _chunks(directory):
        values = _decode(codec, unit, content)
        if values is None or not values.all():
            lines.append(_bad_chunk(directory / chunk_name(unit)))
        else:
            done[unit] = int(values[0, 0])
    return done, lines


def _check_units(
    place: Path, root: Root, codecs: dict[str, ChunkCodec], done: Mapping[ChunkIndex, int]
) -> Iterator[str]:
    names = [name for name in (TEXT_MASS, MASS) if name in codecs]
    seen = {*done} | {index[:2] for name in names for index, _ in _chunks(place / name)}
    for unit in sorted(seen):
        arrays: dict[str, Numbers] = {}
        contents: dict[str, bytes] = {}
        for name in names:
            index = unit_index(name, unit[0], unit[1])
            file = place / name / chunk_name(index)
            content = _content(file)
            values = None if content is None else _decode(codecs[name], index, content)
            if content is not None and values is not None:
                arrays[name], contents[name] = values[0, 0], content
            elif content is not None:
                yield _bad_chunk(file)
            elif unit in done:
                yield _missing_chunk(file)
        if unit in done and len(arrays) == len(names):
            where = f"prompt {unit[0]}, step {root.header.steps[unit[1]]} in {place}"
            wrong = row_violations(arrays[MASS], arrays.get(TEXT_MASS), where, root.header.tolerance)
            yield from wrong or _check_place(place, root, codecs, unit, done[unit], contents)


def _check_place(
    place: Path,
    root: Root,
    codecs: dict[str, ChunkCodec],
    unit: ChunkIndex,
    marker: int,
    contents: Mapping[str, bytes],
) -> Iterator[str]:
    """Hold what lies at a place against what its marker was written for; labels that are damaged are said elsewhere."""
    labels = []
    for name in STEP_ARRAYS:
        content = _content(place / name / chunk_name((unit[1],)))
        values = None if content is None else _decode(codecs[name], (unit[1],), content)
        if values is None or not root.has_digests:
            return
        labels.append(float(values[0]))
    here = Place(root.run, unit[0], unit[1], *labels)
    if not here.has_labels_of(marker):
        yield str(displaced_error(place / DONE / chunk_name(unit)))
    elif here.marker(contents) != marker:
        yield str(displaced_error(place / MASS / chunk_name(unit_index(MASS, unit[0], unit[1]))))


def _check_missing(place: Path, root: Root, units: set[ChunkIndex]) -> Iterator[str]:
    num_prompts, num_steps = len(root.header.prompts), len(root.header.steps)
    for name in STEP_ARRAYS:
        for step in sorted({unit[1] for unit in units}):
            if _content(place / name / chunk_name((step,))) is None:
                yield _missing_chunk(place / name / chunk_name((step,)))
    for unit in np.ndindex(num_prompts, num_steps):
        if root.finalised and _content(place / DONE / chunk_name(unit)) is None:
            yield _missing_chunk(place / DONE / chunk_name(unit))


def _check_without_root(place: Path) -> Iterator[str]:
    # The arrays' own metadata is all there is, and nothing vouches for it.
    for file in _list_files(place, f"*/{ROOT_FILE}"):
        try:
            codec = ChunkCodec(_content(file) or b"")
        except DAMAGE as error:
            yield (
                f"expected metadata of an array, got {quote(str(error))} at {file}; {_READ_AGAIN}, "
                "its chunks cannot be checked without it"
            )
            continue
        for index, content in _chunks(file.parent):
            if _decode(codec, index, content) is None:
                yield _bad_chunk(file.parent / chunk_name(index))


def _chunks(directory: Path) -> Iterator[tuple[ChunkIndex, bytes]]:
    for file in _list_files(directory, "c.*"):
        index, content = chunk_index(file.name), _content(file)
        if index is not None and content is not None:
            yield index, content


def _list_files(directory: Path, pattern: str) -> list[Path]:
    try:
        with explain(directory):
            return sorted(directory.glob(pattern)) if directory.is_dir() else []
    except AttnscopeError:
        # Whatever should be in there is then reported as missing.
        return []


def _content(file: Path) -> bytes | None:
    try:
        with explain(file):
            return file.read_bytes() if file.is_file() else None
    except AttnscopeError:
        # An unreadable file is reported like a missing one: its content is gone either way.
        return None


def _decode(codec: ChunkCodec, index: ChunkIndex, content: bytes) -> Numbers | None:
    try:
        return codec.decode(index, content)
    except DAMAGE:
        return None


def _bad_chunk(file: Path) -> str:
    return f"expected the bytes that were written, got a damaged chunk at {file}; {_READ_AGAIN}"


def _missing_chunk(file: Path) -> str:
    return f"expected a chunk, got no readable file at {file}; {_READ_AGAIN}"
