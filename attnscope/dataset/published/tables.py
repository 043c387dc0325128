"""The tables of a dataset: sources.parquet, a row a film, and clips.parquet, a row a candidate, kept or dropped.

The same rows give the same bytes: columns and their types are fixed, rows come in the order of the sources, and nothing
in a file says when or where it was written. What is read is held against types, bounds and root before anybody uses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from attnscope._types import Document
from attnscope.dataset.rows import Clip
from attnscope.errors import AttnscopeError, InputError, SetupError, one_line, quote
from attnscope.storage.confined import confine, is_plain_name
from attnscope.storage.disk import explain, partial_beside

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

AnyRow = TypeVar("AnyRow", bound=msgspec.Struct)

SOURCES, CLIPS = "sources.parquet", "clips.parquet"
"""How the tables of a dataset are called."""

_AT_ONCE = 512  # rows
_COMPUTED = ("num_frames", "duration_s", "num_shots")  # columns for the reader, which follow from the others


class SourceRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A film that was given, and what came of it; one that could not be worked on has its reason and no more."""

    file: str
    status: Literal["ok", "failed"]
    error: str | None
    source_id: str | None = None
    sha256: str | None = None
    num_bytes: int | None = None
    num_frames: int | None = None
    fps: str | None = None
    width: int | None = None
    height: int | None = None
    first_stamp: int | None = None
    num_pieces: int = 0
    num_candidates: int = 0
    num_clips: int = 0


def write_tables(out: Path, rows: Iterable[tuple[SourceRow, Iterable[Clip]]]) -> None:
    """Write both tables, whole or not at all, a few rows at a time.

    Raises
    ------
    SetupError
        Pyarrow is not installed, or the disk is full.
    """
    parquet = _parquet()
    partial = {name: partial_beside(out / name) for name in (SOURCES, CLIPS)}
    with explain(out):
        with (
            parquet.ParquetWriter(partial[SOURCES], _source_schema()) as sources,
            parquet.ParquetWriter(partial[CLIPS], _clip_schema()) as clips,
        ):
            source_rows, clip_rows = _Batches(sources), _Batches(clips)
            for source, candidates in rows:
                source_rows.add(msgspec.to_builtins(source))
                for clip in candidates:
                    clip_rows.add(_flat(clip))
            source_rows.flush()
            clip_rows.flush()
        for name, path in partial.items():
            path.replace(out / name)


def read_clips(folder: Path, *, decision: str | None = "kept") -> Iterator[Clip]:
    """Read the clips of a dataset, those that were kept, or all with ``decision=None``.

    Raises
    ------
    InputError
        There is no such table; a row is none of ours, contradicts itself, or names a file outside of the dataset.
    """
    for number, row in enumerate(_rows(folder / CLIPS)):
        where = f"in row {number} of {folder / CLIPS}"
        clip = read_row(row, where)
        if clip.uri is not None:
            _require_confined(folder, clip.uri, where)
        if decision is None or clip.decision == decision:
            yield clip


def read_sources(folder: Path) -> Iterator[SourceRow]:
    """Read the sources of a dataset.

    Raises
    ------
    InputError
        There is no such table, or a row is none of ours.
    """
    for number, row in enumerate(_rows(folder / SOURCES)):
        yield _convert(row, SourceRow, f"in row {number} of {folder / SOURCES}")


def read_row(row: Document, where: str) -> Clip:
    """Make a clip of a row, if it is sound: shots one behind another, each as long in the film as in the clip.

    Raises
    ------
    InputError
        It is not.
    """
    clip = _convert({name: value for name, value in row.items() if name not in _COMPUTED}, Clip, where)
    if fault := next(_faults(clip), None):
        raise InputError(
            expected="a clip of a dataset",
            got=fault,
            where=where,
            remedy="build it anew, or leave the row out",
        )
    return clip


def _faults(clip: Clip) -> Iterator[str]:
    if not (clip.clip_id.isascii() and clip.clip_id.isalnum() and len(clip.clip_id) <= 64):
        yield f"the name {quote(clip.clip_id)}"
    if not is_plain_name(clip.file):
        yield f"the film {quote(clip.file)}"
    if not 1 <= clip.width <= 1 << 16 or not 1 <= clip.height <= 1 << 16:
        yield f"a size of {clip.width} x {clip.height}"
    if not 0 <= clip.start_frame < clip.stop_frame <= clip.num_source_frames:
        yield f"frames {clip.start_frame} to {clip.stop_frame} of {clip.num_source_frames}"
    if clip.decision == "dropped":
        return
    if not clip.shots or clip.shots[0].start_frame != 0:
        yield "shots that do not begin at frame 0"
    for shot in clip.shots:
        num, num_source = shot.stop_frame - shot.start_frame, shot.source_stop_frame - shot.source_start_frame
        if num < 1 or num != num_source or not clip.start_frame <= shot.source_start_frame:
            yield f"a shot of {num} frames out of {num_source}"
    for before, after in pairwise(clip.shots):
        if after.start_frame != before.stop_frame or after.source_start_frame < before.source_stop_frame:
            yield f"a shot from frame {after.start_frame} behind one up to {before.stop_frame}"
    try:
        clip.plan()
    except (AttnscopeError, ZeroDivisionError, ValueError) as error:
        yield one_line(str(error))


def _require_confined(folder: Path, uri: str, where: str) -> None:
    try:
        confine(folder, uri)
    except InputError as error:
        raise InputError(expected=error.expected, got=error.got, where=where, remedy=error.remedy) from error


def _flat(clip: Clip) -> Document:
    computed = {
        "num_frames": clip.num_frames,
        "duration_s": clip.duration_s,
        "num_shots": len(clip.shots),
    }
    return {**msgspec.to_builtins(clip), **computed}


def _convert(row: Document, kind: type[AnyRow], where: str) -> AnyRow:
    try:
        return msgspec.convert(row, kind)
    except (msgspec.ValidationError, TypeError) as error:
        raise InputError(
            expected=f"a row of a {'clip' if kind is Clip else 'source'}",
            got=one_line(str(error)),
            where=where,
            remedy="build it anew, or leave the row out",
        ) from error


def _rows(path: Path) -> Iterator[Document]:
    parquet = _parquet()
    if not path.is_file():
        raise InputError(
            expected=f"a dataset with its table {path.name}",
            got="none",
            where=f"in {path.parent}",
            remedy="make one with attnscope dataset build",
        )
    import pyarrow

    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_AT_ONCE):
                yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(
            expected="a Parquet table",
            got=quote(one_line(str(error)), 120),
            where=f"in {path}",
            remedy="it is damaged, build it anew",
        ) from error


class _Batches:
    """Rows on their way into a table, a few hundred at a time."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer
        self._rows: list[Document] = []

    def add(self, row: Document) -> None:
        self._rows.append(row)
        if len(self._rows) == _AT_ONCE:
            self.flush()

    def flush(self) -> None:
        import pyarrow

        if self._rows:
            self._writer.write_table(pyarrow.Table.from_pylist(self._rows, schema=self._writer.schema))
        self._rows = []


def _parquet() -> ModuleType:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise SetupError(
            expected="pyarrow for the tables of a dataset",
            got="no such package",
            where="in this environment",
            remedy='install attnscope with pip install "attnscope[metrics]"',
        ) from error
    parquet: ModuleType = pyarrow.parquet
    return parquet


def _source_schema() -> pa.Schema:
    import pyarrow as pa

    text, whole = pa.string(), pa.int64()
    columns = {
        "file": text,
        "status": text,
        "error": text,
        "source_id": text,
        "sha256": text,
        "num_bytes": whole,
    }
    columns |= {"num_frames": whole, "fps": text, "width": whole, "height": whole, "first_stamp": whole}
    columns |= {"num_pieces": whole, "num_candidates": whole, "num_clips": whole}
    return pa.schema(list(columns.items()))


def _clip_schema() -> pa.Schema:
    import pyarrow as pa

    text, whole, real = pa.string(), pa.int64(), pa.float64()
    edges = [("start_frame", whole), ("stop_frame", whole)]
    source_edges = [(f"source_{name}", kind) for name, kind in edges]
    shot = pa.struct([*edges, *source_edges, ("caption", text)])
    removed = pa.struct([*edges, ("kind", text)])
    columns = {"clip_id": text, "source_id": text, "file": text, "start_frame": whole, "stop_frame": whole}
    columns |= {
        "fps": text,
        "width": whole,
        "height": whole,
        "first_stamp": whole,
        "num_source_frames": whole,
    }
    columns |= {"num_frames": whole, "duration_s": real, "num_shots": whole, "shots": pa.list_(shot)}
    columns |= {"likeness": pa.list_(real), "motion": real, "contrast": real, "print": text}
    columns |= {"aesthetic": real, "unjudged": text, "decision": text, "reasons": pa.list_(text)}
    columns |= {"removed": pa.list_(removed), "detector": text, "uri": text, "sha256": text}
    columns |= {"caption": text, "caption_state": text, "caption_reason": text, "captioner": text}
    return pa.schema(list(columns.items()))
