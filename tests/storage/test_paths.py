"""Places that cannot be written to, or must not: one line before anything is computed, and nothing is written."""

import errno
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from attnscope.errors import SetupError, StoreError
from attnscope.storage.disk import make_folder, replace_file, require_writable, write_durably


def link(place):
    (place / "elsewhere").mkdir()
    (place / "out").mkdir()
    (place / "out" / "rows").symlink_to(place / "elsewhere")
    return place / "out"


def pipe(place):
    os.mkfifo(place / "pipe")
    return place / "pipe"


def file(place):
    (place / "file").write_text("mine")
    return place / "file"


def linked_file(place):
    file(place)
    (place / "link").symlink_to(place / "file")
    return place / "link"


def dangling(place):
    (place / "link").symlink_to(place / "nowhere")
    return place / "link"


def loop(place):
    (place / "loop").symlink_to(place / "loop")
    return place / "loop" / "x"


PLACES = {
    "a name of 300 characters": (lambda place: place / ("n" * 300), "folder", "File name too long"),
    "a path of 5000 characters": (lambda place: place / ("n/" * 2500), "folder", "File name too long"),
    "a zero byte": (lambda place: place / "a\0b", "folder", "null"),
    "a file for a folder": (file, "folder", "expected a folder, got a file"),
    "a file above a folder": (lambda place: file(place) / "below", "folder", "got a file|Not a directory"),
    "a folder for a file": (lambda place: place, "file", "expected a file, got a folder"),
    "a pipe": (pipe, "file", "got a pipe"),
    "a pipe for a folder": (pipe, "folder", "got a pipe"),
    "a device": (lambda place: "/dev/null", "file", "got a device"),
    "below a device": (lambda place: "/dev/null/x", "folder", "got a device|Not a directory"),
    "a link to a file": (linked_file, "file", "got a link"),
    "a link to nothing": (dangling, "folder", "got a link"),
    "a link inside": (link, "folder", "without links to other folders"),
    "links in a circle": (loop, "folder", "symbolic links|got a link"),
    "proc": (lambda place: "/proc/nothing/here", "folder", "may not|No such|Permission"),
}


def everything(place):
    return {str(path): os.lstat(path).st_mode for path in sorted(place.rglob("*"))}


@pytest.mark.parametrize("name", PLACES)
def test_a_place_that_cannot_be_written_is_refused_and_left_alone(name, tmp_path):
    make, kind, words = PLACES[name]
    if name == "proc" and os.access("/proc", os.W_OK):
        pytest.skip("this user may write to /proc, or the system says so")
    path = Path(make(tmp_path))
    before = everything(tmp_path)
    with pytest.raises(StoreError, match=words) as caught:
        require_writable(path, kind)
    assert len(str(caught.value).splitlines()) == 1
    assert everything(tmp_path) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path):
    (tmp_path / "shut").mkdir(mode=0o500)
    with pytest.raises(StoreError, match="one that may not"):
        require_writable(tmp_path / "shut" / "out", "folder")


def test_what_can_be_written_is_let_through(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "clip.mp4").symlink_to("/nowhere/clip.mp4")
    (tmp_path / "old").write_text("x")
    before = everything(tmp_path)
    for path, kind in (
        ("new/deep", "folder"),
        ("link", "folder"),
        ("link/new", "folder"),
        ("old", "file"),
        ("a", "file"),
    ):
        require_writable(tmp_path / path, kind)
    assert everything(tmp_path) == before


def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "out").symlink_to(tmp_path / "mine")
    write_durably(tmp_path / "out", b"new")
    assert (tmp_path / "mine").read_text() == "mine"
    assert stat.S_ISREG((tmp_path / "out").lstat().st_mode)
    with replace_file(tmp_path / "out") as part:
        part.symlink_to(tmp_path / "mine")
        part.unlink()
        part.write_text("newer")
    assert ((tmp_path / "mine").read_text(), (tmp_path / "out").read_text()) == ("mine", "newer")


def test_a_link_in_the_place_of_a_partial_file_is_not_followed(tmp_path):
    seen = []
    with replace_file(tmp_path / "out") as part:
        seen.append(part)
        part.write_text("x")
    (tmp_path / "mine").write_text("mine")
    seen[0].symlink_to(tmp_path / "mine")
    write_durably(tmp_path / "out", b"new")
    assert (tmp_path / "mine").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "out"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_the_old_file_and_no_part(tmp_path, monkeypatch, number):
    write_durably(tmp_path / "a", b"old")

    def full(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SetupError, match="expected room on the disk"):
        write_durably(tmp_path / "a", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"old")]


def test_a_read_only_disk_is_one_line(tmp_path, monkeypatch):
    def shut(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "mkdir", shut)
    with pytest.raises(StoreError, match="Read-only file system"):
        make_folder(tmp_path / "a")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_a_disk_that_is_really_full(tmp_path):
    def write(part):
        part.write_bytes(b"x")
        with part.open("wb") as mine, open("/dev/full", "wb", buffering=0) as full:
            os.dup2(full.fileno(), mine.fileno())
            mine.write(b"y")

    def replace():
        with replace_file(tmp_path / "a") as part:
            write(part)

    with pytest.raises(SetupError, match="expected room on the disk"):
        replace()
    assert list(tmp_path.iterdir()) == []


def test_halves_that_killed_writers_left_are_swept_up_and_those_of_living_ones_stay(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host = socket.gethostname()
    dead, living, other = (
        tmp_path / f".a.csv.{name}.partial"
        for name in (f"{host}-{ended.pid}", f"{host}-{os.getppid()}", "elsewhere-1")
    )
    for half in (dead, living, other):
        half.write_bytes(b"half")
    write_durably(tmp_path / "a.csv", b"whole")
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "a.csv", living, other])
