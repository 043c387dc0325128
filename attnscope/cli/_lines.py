"""Files of text with one thing a line: prompts, captions."""

from __future__ import annotations

from pathlib import Path

from attnscope.errors import PromptFileError


def read_lines(path: Path, expected: str, thing: str, option: str) -> tuple[str, ...]:
    """Return the lines of a file, without empty ones and those that begin with #.

    Raises
    ------
    PromptFileError
        It is no text, or says nothing.
    """
    try:
        # -sig: some editors put a byte order mark in front, which is no part of the first line
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        if any("\0" in line for line in lines):
            raise OSError("it holds zero bytes, so it is no text")
    except (OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise PromptFileError(
            expected=expected, got=f"{str(path)!r} ({reason})", where=f"as {option}", remedy="check it"
        ) from error
    found = tuple(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
    if not found:
        raise PromptFileError(
            expected=f"at least one {thing}",
            got="none",
            where=f"in {str(path)!r}",
            remedy="write one on a line",
        )
    return found
