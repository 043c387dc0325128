"""Files that survive a crash: written beside their place, flushed to the disk, then moved in, all or nothing."""

from __future__ import annotations

import errno
import glob
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

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
        # A ValueError is what Python makes of a path with a zero byte in it.
        reason = getattr(error, "strerror", None) or str(error)
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise SetupError(
                expected="room on the disk",
                got=f"{reason!r}",
                where=f"at {path}",
                remedy="free some space and run the same command again, nothing that was done is lost",
            ) from error
        raise StoreError(
            expected="to read and write the store",
            got=f"{reason!r}",
            where=f"at {path}",
            remedy="check the path and its permissions",
        ) from error


def write_durably(path: Path, content: bytes) -> None:
    """Put a file in place so that after a power cut it is there whole, or not there, or still the old one."""
    partial = partial_beside(path)
    with explain(path):
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        _sync_directory(path.parent)


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
