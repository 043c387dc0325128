"""Files that survive a crash: written beside their place, flushed to the disk, then moved in, all or nothing."""

from __future__ import annotations

import errno
import glob
import os
import shutil
import socket
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from attnscope.errors import AttnscopeError, SetupError, StoreError

PARTIAL_SUFFIX = ".partial"


@contextmanager
def explain(path: Path) -> Iterator[None]:
    """Turn what the operating system says about a path into one line of ours."""
    try:
        yield
    except AttnscopeError:
        raise
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError) and "null" not in str(error):
            raise  # of a path with a zero byte in it Python makes a ValueError; others are not about the path
        reason = getattr(error, "strerror", None) or str(error)
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise SetupError(
                expected="room on the disk",
                got=f"{reason!r}",
                where=f"at {path}",
                remedy="free some space and run the same command again, nothing that was done is lost",
            ) from error
        raise StoreError(
            expected="a path that can be read and written",
            got=f"{reason!r}",
            where=f"at {path}",
            remedy="check the path and its permissions",
        ) from error


def write_durably(path: Path, content: bytes, *, is_swept: bool = True) -> None:
    """Put a file in place so that after a power cut it is there whole, or not there, or still the old one.

    Whoever sweeps up a folder of many files by itself says that this one need not be ``is_swept`` around.
    """
    with replace_file(path, is_swept=is_swept) as partial, explain(path), partial.open("xb") as file:
        file.write(content)


@contextmanager
def replace_file(path: Path, *, is_swept: bool = True) -> Iterator[Path]:
    """Give a path beside another to write to; what was written then takes its place at once, flushed to the disk.

    A link that lies there is replaced, and what it points to is left alone. If the writing fails, all is as it was.
    Halves of this file that killed processes of this machine have left are removed.
    """
    partial = partial_beside(path)
    with explain(path):
        partial.unlink(missing_ok=True)  # left by a killed process of the same number, or a link
        try:
            yield partial
            _flush(partial)
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        if is_swept:
            _remove_halves(path)
        _sync_directory(path.parent)


def _remove_halves(path: Path) -> None:
    start = f".{path.name}.{socket.gethostname()}-"
    for left in path.parent.glob(f"{glob.escape(start)}*{PARTIAL_SUFFIX}"):
        process = left.name[len(start) : -len(PARTIAL_SUFFIX)]
        if process.isdigit() and not _is_running(int(process)):
            left.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # somebody else's
    return True


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, where they are missing.

    Raises
    ------
    StoreError
        Something else lies there, or the path cannot be written.
    SetupError
        The disk is full.
    """
    with explain(path):
        path.mkdir(parents=True, exist_ok=True)


def require_writable(path: Path, kind: Literal["file", "folder"]) -> None:
    """Refuse a place to which nothing can be written, before anything was computed; nothing is made.

    Raises
    ------
    StoreError
        The name is too long, something of another kind lies there or above, a link leads out of the folder, or it may
        not be written.
    """
    with explain(path):
        there = _what_lies(path)
        if there not in ("nothing", kind):
            raise _place_error(f"a {kind}", f"a {there}", path)
        above = next(folder for folder in (path, *path.absolute().parents) if os.path.lexists(folder))
        folder = above.parent if there == kind == "file" else above
        if not folder.is_dir():
            raise _place_error("a folder to write to", f"a {_what_lies(folder)}", folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise _place_error("a folder that may be written", "one that may not", folder)
        if kind == "folder" and there == "folder":
            _require_no_links(path)


def _require_no_links(folder: Path) -> None:
    """Where a folder holds results, a link in the place of one of its folders would have them written elsewhere."""
    for each in folder.iterdir():
        if each.is_symlink() and each.is_dir():
            raise _place_error("a folder of results without links to other folders", "a link", each)


def _what_lies(path: Path) -> str:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return "nothing"
    if stat.S_ISLNK(mode):
        # what a person names may be a link to a folder; a link to a file would be written through
        return "folder" if path.is_dir() else "link"
    kinds = {"folder": stat.S_ISDIR, "file": stat.S_ISREG, "pipe": stat.S_ISFIFO, "socket": stat.S_ISSOCK}
    return next((name for name, is_kind in kinds.items() if is_kind(mode)), "device")


def _place_error(expected: str, got: str, path: Path) -> StoreError:
    return StoreError(expected=expected, got=got, where=f"at {path}", remedy="choose another path")


def _flush(path: Path) -> None:
    # Opened for writing too: some systems flush only what may be written.
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create_tree(path: Path, files: Mapping[str, bytes]) -> None:
    """Put a whole new directory in place at once; ``path`` must not exist.

    Of several processes that try, one succeeds and the others fail; then the directory is there.
    """
    building = partial_beside(path)
    with explain(path):
        building.mkdir(parents=True)
        try:
            for name, content in files.items():
                (building / name).parent.mkdir(exist_ok=True)
                write_durably(building / name, content)
            _sync_directory(building)
            building.rename(path)
        except (OSError, AttnscopeError):
            shutil.rmtree(building, ignore_errors=True)
            raise
        # What killed runs left behind, or somebody is building who can no longer succeed.
        for left in path.parent.glob(f".{glob.escape(path.name)}.*{PARTIAL_SUFFIX}"):
            shutil.rmtree(left, ignore_errors=True)
        _sync_directory(path.parent)


def remove_partial_files(path: Path) -> None:
    """Sweep up what killed writers left behind; only while nobody else writes."""
    with explain(path):
        for partial in path.rglob(f".*{PARTIAL_SUFFIX}"):
            partial.unlink()


def partial_beside(path: Path) -> Path:
    """Name the half-written copy of a file: beside it, and no other writer's."""
    # Machine and process keep two writers from sharing one half-written copy.
    return path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}{PARTIAL_SUFFIX}")


def _sync_directory(directory: Path) -> None:
    # Windows cannot open a directory; its file system orders renames by itself.
    if os.name == "posix":
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
