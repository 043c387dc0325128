"""A dataset as WebDataset archives, and back: tar files of clips, each with its row beside it as JSON.

What is written is the same wherever and whenever it is written. What is read is not unpacked: every member is taken
for what its name and its content say, and a name that is none of ours is refused.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from attnscope.dataset.export import place_clip
from attnscope.dataset.published.tables import read_clips, read_row
from attnscope.dataset.rows import Clip
from attnscope.errors import InputError, one_line, quote
from attnscope.storage.confined import confine
from attnscope.storage.disk import explain, partial_beside, write_durably

_MEMBER = re.compile(r"([0-9A-Za-z]{1,64})\.(json|mp4)", re.ASCII)
_MOST_ROW_BYTES, _MOST_CLIP_BYTES = 1 << 24, 1 << 32


def write_archives(folder: Path, out: Path, *, clips_per_archive: int = 1000) -> list[Path]:
    """Write the clips of a dataset as archives 000000.tar, 000001.tar and so on; returns their paths.

    Raises
    ------
    InputError
        The folder holds no dataset, or a file of it is not there.
    """
    paths: list[Path] = []
    with explain(out):
        out.mkdir(parents=True, exist_ok=True)
    waiting: list[Clip] = []
    for clip in read_clips(folder):
        waiting.append(clip)
        if len(waiting) == clips_per_archive:
            paths.append(_write_archive(folder, out / f"{len(paths):06d}.tar", waiting))
            waiting = []
    if waiting:
        paths.append(_write_archive(folder, out / f"{len(paths):06d}.tar", waiting))
    return paths


def read_archives(folder: Path, out: Path) -> Iterator[Clip]:
    """Take the clips out of all archives of a folder, file by file, and give their rows.

    Raises
    ------
    InputError
        There is no archive; one is damaged, or holds what is no clip of ours.
    """
    paths = sorted(folder.glob("*.tar"))
    if not paths:
        raise InputError(
            expected="archives of clips (*.tar)", got="none", where=f"in {folder}", remedy="check the path"
        )
    for path in paths:
        yield from _read_archive(path, out)


def _write_archive(folder: Path, path: Path, clips: list[Clip]) -> Path:
    partial = partial_beside(path)
    with explain(path):
        with tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as archive:
            for clip in clips:
                _add(archive, f"{clip.clip_id}.json", msgspec.json.encode(clip))
                _add(archive, f"{clip.clip_id}.mp4", confine(folder, clip.uri).read_bytes())
        partial.replace(path)
    return path


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # of nobody, at no time
    member.size, member.mode = len(content), 0o644
    archive.addfile(member, io.BytesIO(content))


def _read_archive(path: Path, out: Path) -> Iterator[Clip]:
    rows: dict[str, Clip] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                name, ending = _require_member(member, path)
                content = _read_member(archive, member)
                if ending == "json":
                    rows[name] = _read_row(content, name, path)
                elif name in rows:
                    yield _place(rows.pop(name), content, path, out)
                else:
                    raise _refuse(path, f"the clip {name} before its row")
    except (tarfile.TarError, EOFError) as error:
        raise _refuse(path, quote(one_line(str(error)), 120)) from error
    if rows:
        raise _refuse(path, f"a row without its clip, {next(iter(rows))}")


def _require_member(member: tarfile.TarInfo, path: Path) -> tuple[str, str]:
    match = _MEMBER.fullmatch(member.name)
    if not member.isreg() or match is None:
        raise _refuse(path, f"the member {quote(member.name)}")
    most = _MOST_ROW_BYTES if match[2] == "json" else _MOST_CLIP_BYTES
    if not 0 < member.size <= most:
        raise _refuse(path, f"{quote(member.name)} of {member.size} bytes")
    return match[1], match[2]


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return b"" if file is None else file.read()


def _read_row(content: bytes, name: str, path: Path) -> Clip:
    try:
        row = msgspec.json.decode(content, type=dict)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _refuse(path, f"{name}.json, which is no JSON") from error
    clip = read_row(row, f"in {name}.json of {path}")
    if clip.clip_id != name or clip.decision != "kept":
        raise _refuse(path, f"the row of {quote(clip.clip_id)} as {name}.json")
    return clip


def _place(clip: Clip, content: bytes, path: Path, out: Path) -> Clip:
    """Put a clip where a dataset has it."""
    if hashlib.sha256(content).hexdigest() != clip.sha256:
        raise _refuse(path, f"{clip.clip_id}.mp4, which is not the file that was written")
    uri = place_clip(clip.clip_id)
    with explain(out / uri):
        (out / uri).parent.mkdir(parents=True, exist_ok=True)
    write_durably(out / uri, content)
    return msgspec.structs.replace(clip, uri=uri)


def _refuse(path: Path, got: str) -> InputError:
    return InputError(
        expected="an archive of clips as attnscope dataset export writes it",
        got=got,
        where=f"in {path}",
        remedy="export it anew",
    )
