"""One HTML file that needs nothing else: its own style and script, let in by their hashes, and nothing from outside."""

from __future__ import annotations

import html
import json
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from os import PathLike
from pathlib import Path

from attnscope.errors import InputError, quote
from attnscope.storage.disk import make_folder, write_durably

_HERE = Path(__file__).parent


def tag(name: str, /, *children: str, **attributes: str | bool) -> str:
    """Write an element; children are HTML already, attributes are escaped. A trailing _ of an attribute falls off.

    >>> tag("a", text("1 < 2"), class_="link", hidden=True)
    '<a class="link" hidden>1 &lt; 2</a>'
    """
    shown = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{html.escape(str(value))}"')
        for key, value in attributes.items()
        if value is not False
    )
    inside = "" if name in ("img", "meta") else f"{''.join(children)}</{name}>"
    return f"<{name}{shown}>{inside}"


def text(words: object) -> str:
    """Write text, whatever stands in it.

    >>> text("<script>")
    '&lt;script&gt;'
    """
    return html.escape(str(words), quote=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a table of text and numbers; the first column to the left."""
    head = tag("tr", *(tag("th", text(each), scope="col") for each in columns))
    body = (tag("tr", *(tag("td", text(cell(each))) for each in row)) for row in rows)
    return tag("div", tag("table", tag("thead", head), tag("tbody", *body), class_="numbers"), class_="wide")


def cell(value: object) -> str:
    """Write a number with three digits, and a dash where there is none."""
    if isinstance(value, float):
        return f"{value:.3g}"
    return "–" if value is None else str(value)


def data_uri(kind: str, data: bytes) -> str:
    """Carry a picture or a film inside the page."""
    return f"data:{kind};base64,{b64encode(data).decode()}"


def embed_json(name: str, document: object) -> str:
    """Carry data that a script reads; nothing in it can end the element."""
    # < is written as its number: a prompt may hold </script>
    written = json.dumps(document, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{written}</script>'


def embed_bytes(name: str, data: bytes) -> str:
    """Carry bytes that a script reads, as base64."""
    return f'<script type="text/plain" id="{name}">{b64encode(data).decode()}</script>'


def page(title: str, *body: str, styles: Sequence[str], scripts: Sequence[str]) -> str:
    """Put a page together out of files of this folder; its policy lets in these styles and scripts and nothing else."""
    style = "\n".join((_HERE / name).read_text(encoding="utf-8") for name in styles)
    script = "\n".join((_HERE / name).read_text(encoding="utf-8") for name in scripts)
    policy = {
        "default-src": "'none'",
        "script-src": _hash_of(script),
        "style-src": _hash_of(style),
        "img-src": "data:",
        "media-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    head = [
        '<meta charset="utf-8">',
        tag("meta", http_equiv="Content-Security-Policy", content=_write_policy(policy)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", text(title)),
        f"<style>{style}</style>",
    ]
    after = f'<script type="module">{script}</script>'
    return (
        '<!doctype html>\n<html lang="en" class="attnscope">\n<head>\n'
        + "\n".join(head)
        + "\n</head>\n<body>\n"
        + "\n".join(body)
        + f"\n{after}\n</body>\n</html>\n"
    )


def _hash_of(source: str) -> str:
    return f"'sha256-{b64encode(sha256(source.encode()).digest()).decode()}'"


def _write_policy(policy: Mapping[str, str]) -> str:
    return "; ".join(f"{name} {value}" for name, value in policy.items())


def write_page(path: str | PathLike[str], written: str) -> Path:
    """Write a page; folders are made.

    Raises
    ------
    InputError
        The name does not end in .html.
    StoreError, SetupError
        It cannot be written there; the disk is full.
    """
    target = Path(path)
    if target.suffix.lower() not in (".html", ".htm"):
        raise InputError(
            expected="a file that ends in .html",
            got=quote(target.name),
            where="to write a report to",
            remedy=f"write {target.stem or 'report'}.html",
        )
    make_folder(target.parent)
    write_durably(target, written.encode())
    return target
