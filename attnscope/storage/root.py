"""The one metadata file at the root of a store: what it is about, all arrays described, and a fingerprint of itself.

The arrays are described here once more (zarr calls it consolidated), from the first moment on: their shapes
never change, and xarray warns about a store without it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from attnscope._types import Document
from attnscope.errors import AttnscopeError, StoreError, quote
from attnscope.schema import (
    DIMS,
    MASS,
    SCHEMA_VERSION,
    TEXT_MASS,
    TOLERANCE,
    flatten_attributes,
    parse_attributes,
)
from attnscope.storage.arrays import document_bytes
from attnscope.storage.disk import explain
from attnscope.storage.header import StoreHeader

ROOT_FILE = "zarr.json"
STORE_NAME = "attention.zarr"
"""What a run calls the store in its folder."""

SCHEMA, _CREATED, _HEADER, _DIGEST = "attnscope_schema", "created_at", "attnscope_header", "metadata_sha256"
_FINALISED = "finalised"
_COORDINATES = "coordinates"
INTERNAL = (_HEADER, _DIGEST, _FINALISED, _COORDINATES)
"""Attributes that only a store has a use for."""
_RESERVED = (SCHEMA, _CREATED, TOLERANCE, *INTERNAL)
_BLANK = "0" * 64
_KEYS = {"attributes", "consolidated_metadata", "node_type", "zarr_format"}


class NoStoreError(StoreError):
    """There is no store, or none that this version can know."""


@dataclass(frozen=True)
class Root:
    """The root metadata of a store; ``documents`` is the ``zarr.json`` of every array."""

    header: StoreHeader
    created_at: str
    documents: Mapping[str, Document]
    finalised: bool = False
    schema: int = SCHEMA_VERSION
    header_text: str = ""

    def __post_init__(self) -> None:
        # What is hashed is the text as it lies in the file, so that headers may get new fields.
        text = self.header_text or json.dumps(self.header.to_json(), sort_keys=True)
        object.__setattr__(self, "header_text", text)
        if taken := sorted(set(_RESERVED) & set(self.header.attrs)):
            raise StoreError(
                expected="provenance under names of its own",
                got=quote(taken),
                where="in the header of a store",
                remedy="rename them",
            )

    @property
    def attrs(self) -> dict[str, object]:
        """What a reader of the dataset wants to know about where it comes from."""
        return flatten_attributes(self._facts)

    @property
    def _facts(self) -> Document:
        own = {SCHEMA: self.schema, _CREATED: self.created_at, TOLERANCE: self.header.tolerance}
        return {**own, **self.header.attrs}

    @property
    def has_digests(self) -> bool:
        """Whether the done markers hold digests; in stores of schema 1 they only say that a unit is done."""
        return self.schema > 1

    @property
    def run(self) -> str:
        """A fingerprint of the run, as written: what the done markers are bound to."""
        text = self.header_text + json.dumps(self.header.attrs, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def finalise(self) -> Root:
        """Return the root of the finished store."""
        return replace(self, finalised=True)

    def to_bytes(self) -> bytes:
        """Return the file content, fingerprint included."""
        attributes = {
            **(self.attrs if self.schema > 2 else self._facts),
            # Text, because a dict among the attributes cannot be exported to netCDF.
            _HEADER: self.header_text,
            # Where xarray looks for the names of coordinates that are not dims.
            _COORDINATES: " ".join(name for name in self.documents if _is_coordinate(name)),
            _FINALISED: self.finalised,
            _DIGEST: _BLANK,
        }
        blank = document_bytes(
            {
                "attributes": attributes,
                "consolidated_metadata": {
                    "kind": "inline",
                    "must_understand": False,
                    "metadata": dict(self.documents),
                },
                "node_type": "group",
                "zarr_format": 3,
            }
        )
        return _with_digest(blank, hashlib.sha256(blank).hexdigest())


def _is_coordinate(name: str) -> bool:
    return name not in DIMS and name not in (MASS, TEXT_MASS)


def _with_digest(content: bytes, digest: str, *, instead_of: str = _BLANK) -> bytes:
    return content.replace(f'"{_DIGEST}": "{instead_of}"'.encode(), f'"{_DIGEST}": "{digest}"'.encode())


def load_root(path: Path) -> Root:
    """Read and check the root metadata.

    Raises
    ------
    StoreError
        The path is no store of ours, a newer one, or its metadata was damaged or edited.
    """
    _require_store(path)
    with explain(path):
        content = (path / ROOT_FILE).read_bytes()
    attributes, documents = _parse(content, path)
    version = attributes.get(SCHEMA)
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise NoStoreError(
            expected=f"a store of schema {SCHEMA_VERSION} or older",
            got=f"schema {version}",
            where=f"at {path}",
            remedy="update attnscope",
        )
    digest = str(attributes.get(_DIGEST))
    if hashlib.sha256(_with_digest(content, _BLANK, instead_of=digest)).hexdigest() != digest:
        raise _damage_error(path, "it is not what was written")
    try:
        attrs = {key: value for key, value in attributes.items() if key not in _RESERVED}
        attrs = parse_attributes(attrs) if attributes[SCHEMA] > 2 else attrs
        text, created_at = attributes[_HEADER], attributes[_CREATED]
        header = StoreHeader.from_json(json.loads(text), attrs)
        return Root(header, created_at, documents, attributes[_FINALISED], attributes[SCHEMA], text)
    except (KeyError, TypeError, ValueError, AttnscopeError) as error:
        raise _damage_error(path, str(error)) from error


def locate_store(path: str | PathLike[str]) -> Path:
    """Find the store that a path means: itself, or the one that a run left in its folder.

    >>> locate_store("masked.zarr").name
    'masked.zarr'
    """
    place = Path(path)
    inside = place / STORE_NAME
    with explain(place):
        return inside if inside.is_dir() and not (place / ROOT_FILE).is_file() else place


def require_store(path: str | PathLike[str]) -> None:
    """Refuse a path at which there is no store at all; one that is damaged passes, to be looked into.

    Raises
    ------
    StoreError
        There is nothing, a file, an empty folder, something else, or a store of a newer schema.
    """
    try:
        load_root(Path(path))
    except NoStoreError:
        raise
    except AttnscopeError:
        return


def _require_store(path: Path) -> None:
    try:
        with explain(path):
            got = _what_is_no_store(path)
            is_damaged = got is not None and (path / MASS / ROOT_FILE).is_file()
    except StoreError as error:
        raise NoStoreError(str(error)) from error
    if got is None:
        return
    if is_damaged:
        raise _damage_error(path, "it is missing")
    raise NoStoreError(
        expected="an attention store",
        got=f"{got}",
        where=f"at {path}",
        remedy="give the path of a store",
    )


def _what_is_no_store(path: Path) -> str | None:
    if not path.exists():
        return "nothing"
    if not path.is_dir():
        return "a file"
    if not any(path.iterdir()):
        return "an empty folder"
    return None if (path / ROOT_FILE).is_file() else "a folder without zarr.json"


def _parse(content: bytes, path: Path) -> tuple[Document, Document]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _damage_error(path, "it cannot be parsed") from error
    attributes = document.get("attributes") if isinstance(document, dict) else None
    if not isinstance(attributes, dict) or SCHEMA not in attributes:
        raise NoStoreError(
            expected="an attention store",
            got="other zarr data",
            where=f"at {path}",
            remedy="give a store written by attnscope",
        )
    if is_rewritten(document):
        raise NoStoreError(
            expected="a store that attnscope wrote",
            got="a copy by other software, without checksums",
            where=f"at {path}",
            remedy="it can be read with attnscope.open_store, go on with the store it was made of",
        )
    consolidated = document.get("consolidated_metadata")
    documents = consolidated.get("metadata") if isinstance(consolidated, dict) else None
    if not isinstance(documents, dict):
        raise _damage_error(path, "the arrays are not described")
    return attributes, documents


def is_rewritten(document: object) -> bool:
    """Say whether zarr wrote this root by itself, in its own order and with folders of chunks, as xarray has it do.

    A store of ours that was damaged or edited in place has either our order or our names of chunks.
    """
    if not isinstance(document, dict) or list(document) == sorted(document):
        return False
    consolidated = document.get("consolidated_metadata")
    if {*document, "consolidated_metadata"} != _KEYS or not isinstance(consolidated, dict):
        return set(document) == _KEYS - {"consolidated_metadata"}
    return '"separator": "."' not in json.dumps(consolidated)


def _damage_error(path: Path, reason: str) -> StoreError:
    return StoreError(
        expected="sound metadata",
        got=f"a damaged or edited file ({reason})",
        where=f"at {path / ROOT_FILE}",
        remedy="restore it from a copy or measure again",
    )
