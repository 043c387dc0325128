"""What is kept of each film of a study when it is done, and read again only for the request that it was made by."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from attnscope._types import Document
from attnscope.errors import StoreError
from attnscope.storage.sealed import SealError, read_sealed

Kept = TypeVar("Kept", bound=msgspec.Struct)


def say_request(asked: Document) -> str:
    """Write down what was asked for, so that films of another request are told apart.

    >>> say_request({"steps": 20, "model": "wan-mini"})
    '{"model": "wan-mini", "steps": 20}'
    """
    return json.dumps(asked, sort_keys=True, default=str)


def read_kept(path: Path, kind: str, record: type[Kept], is_asked: Callable[[Kept], bool]) -> Kept | None:
    """Read what was kept under a path, None where nothing was; ``is_asked`` says whether it is of this request.

    Raises
    ------
    StoreError
        It is damaged, or belongs to another request.
    """
    try:
        kept = read_sealed(path, kind, record)
    except SealError as error:
        raise StoreError(
            expected=f"the {kind}", got=str(error), where=f"in {path}", remedy="delete it"
        ) from error
    if kept is not None and not is_asked(kept):
        raise StoreError(
            expected=f"the {kind} of the same request",
            got="that of another",
            where=f"in {path}",
            remedy="give another --out",
        )
    return kept
