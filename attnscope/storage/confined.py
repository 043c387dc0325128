"""Paths that a file names: they lead to a file below their root, or nowhere."""

from __future__ import annotations

import re
from pathlib import Path

from attnscope.errors import InputError, quote

_MOST_BYTES = 1024
_DRIVE_OR_ADDRESS = re.compile(r"[A-Za-z]:|[A-Za-z][A-Za-z0-9+.-]*://")


def confine(root: Path, name: object, *, must_exist: bool = True) -> Path:
    """Give the place of a file that a row, manifest or archive names, below its root.

    A name is written with / between folders. It may not be absolute, step out with "..", hold control characters or
    backslashes, name a drive, an address or a device; and no link on the way may lead out of the root.

    Parameters
    ----------
    root : Path
        The folder that it may not leave.
    name : str
        What stands in the file.
    must_exist : bool
        Whether a regular file must be there.

    Raises
    ------
    InputError
        It is no such name.

    Examples
    --------
    >>> confine(Path("films"), "../secret.mp4")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    attnscope.errors.InputError: expected a file below its own folder, got '../secret.mp4' in films; write it as ...
    """
    if not isinstance(name, str) or not is_plain_name(name):
        raise _refusal(root, name)
    path = root / name
    try:
        inside = path.resolve().is_relative_to(root.resolve())
        is_there = path.is_file() if must_exist else not path.is_dir()
    except (OSError, ValueError, RuntimeError) as error:
        raise _refusal(root, name) from error
    if not inside:
        raise _refusal(root, name)
    if not is_there:
        raise InputError(
            expected="a file" if must_exist else "a place for a file",
            got=f"{quote(name)}, which is not there" if must_exist else f"{quote(name)}, which is a folder",
            where=f"in {root}",
            remedy="check it",
        )
    return path


def is_plain_name(name: str) -> bool:
    r"""Say whether a name is a relative path that every system reads the same way.

    >>> [is_plain_name(name) for name in ("deep/a.mp4", "../a.mp4", "/a.mp4", "c:a.mp4", "a\x1b[2J.mp4")]
    [True, False, False, False, False]
    """
    try:
        num_bytes = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        return False
    return (
        0 < num_bytes <= _MOST_BYTES
        and not name.startswith("/")
        and not _DRIVE_OR_ADDRESS.match(name)
        and not any(part in ("", ".", "..") for part in name.split("/"))
        and not any(sign == "\\" or ord(sign) < 32 or 127 <= ord(sign) < 160 for sign in name)
    )


def _refusal(root: Path, name: object) -> InputError:
    return InputError(
        expected="a file below its own folder",
        got=quote(name),
        where=f"in {root}",
        remedy="write it as it lies there, with / between folders",
    )
