"""Small JSON files of ours that show when they were damaged: a checksum over their very bytes, types, and a limit.

A file reads ``{"kind": "...", "sha256": "...", "body": {...}}``. The checksum is over kind and body as they lie in the
file, so that it is held against the bytes before anything is made of them; only then is the body read, into a
`msgspec.Struct` whose fields and types are all there is. Everything that is not byte for byte what was written is one
`SealError`, with the reason.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import TypeVar

import msgspec

from attnscope.errors import StoreError
from attnscope.storage.disk import explain, write_durably

MAX_BYTES = 1 << 26
MAX_DEPTH = 40

Body = TypeVar("Body", bound=msgspec.Struct)


class SealError(ValueError):
    """A file is not what was written, or was written as something else."""


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    kind: str
    sha256: str
    body: msgspec.Raw


def write_sealed(path: Path, kind: str, body: msgspec.Struct) -> None:
    """Put a document in place, whole or not at all; a link that lies there is replaced and not followed.

    Raises
    ------
    ValueError
        The body holds what JSON cannot give back: nan or infinity.
    SetupError
        The disk is full.
    """
    write_durably(path, seal(kind, body))


def read_sealed(path: Path, kind: str, body: type[Body]) -> Body | None:
    """Read a document, None where there is no file.

    Raises
    ------
    SealError
        It is not byte for byte what was written, or was written as something else.
    """
    with explain(path):
        if not path.is_file():
            return None
        num_bytes = path.stat().st_size
        content = path.read_bytes() if num_bytes <= MAX_BYTES else b""
    if num_bytes > MAX_BYTES:
        raise SealError(f"more than {MAX_BYTES} bytes")
    return unseal(content, kind, body)


def seal(kind: str, body: msgspec.Struct) -> bytes:
    r"""Write a document with its checksum.

    >>> class Film(msgspec.Struct):
    ...     cuts: tuple[int, ...]
    >>> text = seal("film 1", Film((5,)))
    >>> unseal(text, "film 1", Film)
    Film(cuts=(5,))
    >>> unseal(text.replace(b"[\n  5", b"[\n  6"), "film 1", Film)
    Traceback (most recent call last):
    ...
    attnscope.storage.sealed.SealError: the checksum does not fit
    """
    _require_plain(msgspec.to_builtins(body), 0)
    return _with_checksum(kind, msgspec.json.format(msgspec.json.encode(body), indent=1))


def unseal(content: bytes, kind: str, body: type[Body]) -> Body:
    """Read a document, after its checksum; see `read_sealed`."""
    try:
        envelope = msgspec.json.decode(content, type=_Envelope)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # What was never sealed has no checksum that could fail: another kind of file, or a damaged one.
        raise SealError(f"no sealed document, {error}") from error
    if _with_checksum(envelope.kind, bytes(envelope.body)) != content:
        raise SealError("the checksum does not fit")
    if envelope.kind != kind:
        raise SealError(f"a document of the kind {envelope.kind!r}")
    try:
        found = msgspec.json.decode(envelope.body, type=body)
        _require_plain(msgspec.to_builtins(found), 0)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise SealError(str(error)) from error
    return found


def document_error(path: Path, kind: str, reason: SealError, remedy: str) -> StoreError:
    """Say that a file is not the document that was expected."""
    return StoreError(
        expected=f"{kind}, as it was written", got=str(reason), where=f"in {path}", remedy=remedy
    )


def _with_checksum(kind: str, body: bytes) -> bytes:
    name = msgspec.json.encode(kind)
    digest = hashlib.sha256(name + b"\n" + body).hexdigest().encode()
    return b'{"kind": ' + name + b', "sha256": "' + digest + b'", "body": ' + body + b"}\n"


def _require_plain(value: object, depth: int) -> None:
    """Refuse what JSON would change in silence, and what nests deeper than any document of ours."""
    if depth > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} levels")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no number of JSON")
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    for part in parts:
        _require_plain(part, depth + 1)
