"""What a file names lies below its own folder, or is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from attnscope.errors import InputError
from attnscope.storage.confined import confine

HOSTILE = [
    *("", ".", "..", "../a.mp4", "../../etc/passwd", "clips/../../a.mp4", "clips/../../../etc/passwd"),
    *("/etc/passwd", "//etc/passwd", "/", "///", "clips//a.mp4", "clips/", "./clips/a.mp4", "clips/./a.mp4"),
    *(
        "clips/a.mp4/..",
        "clips/..",
        "..\\a.mp4",
        "clips\\..\\..\\a.mp4",
        "\\\\server\\share\\a.mp4",
        "C:\\a.mp4",
    ),
    *("C:/a.mp4", "c:a.mp4", "D:", "file:///etc/passwd", "http://example.org/a.mp4", "https://example.org/a"),
    *(
        "ftp://example.org/a.mp4",
        "data://a",
        "rtsp://example.org/a",
        "concat://a",
        "pipe://0",
        "s3://bucket/a",
    ),
    *("a\0.mp4", "clips/a.mp4\0", "a\nb.mp4", "a\rb", "a\tb", "a\x1bb", "a\x7fb", "a\x85b", "\x00"),
    *("a" * 2000, "b/" * 800 + "a", "caf\udce9.mp4", None, 7, b"clips/a.mp4", ["clips/a.mp4"], True, 1.5),
    *("link/passwd", "out.mp4", "loop/a.mp4", "clips", "missing.mp4", "clips/missing.mp4"),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("place")
    (place / "secret.mp4").write_bytes(b"secret")
    folder = place / "dataset"
    (folder / "clips").mkdir(parents=True)
    for name in ("clips/a.mp4", "clips/with: a colon.mp4", "clips/..a.mp4", "clips/grün.mp4"):
        (folder / name).write_bytes(b"film")
    (folder / "link").symlink_to("/etc")
    (folder / "out.mp4").symlink_to(place / "secret.mp4")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "inside.mp4").symlink_to(folder / "clips" / "a.mp4")
    return folder


def test_there_are_fifty() -> None:
    assert len(HOSTILE) >= 50


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:30])
def test_a_name_that_leads_out_or_nowhere_is_refused(root: Path, name: object) -> None:
    with pytest.raises(InputError) as caught:
        confine(root, name)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "name", ["clips/a.mp4", "clips/with: a colon.mp4", "clips/..a.mp4", "clips/grün.mp4", "inside.mp4"]
)
def test_a_plain_name_is_taken(root: Path, name: str) -> None:
    assert confine(root, name).read_bytes() == b"film"


def test_a_place_for_a_new_file_need_not_be_there(root: Path) -> None:
    assert confine(root, "clips/new.mp4", must_exist=False) == root / "clips" / "new.mp4"
    with pytest.raises(InputError):
        confine(root, "clips", must_exist=False)
    with pytest.raises(InputError):
        confine(root, "link/new.mp4", must_exist=False)
