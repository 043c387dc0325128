"""Weights come out of a torch archive number by number, and nothing in the archive is executed."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from attnscope.archives import read_archive
from attnscope.errors import InputError

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


def test_one_of_several_dictionaries_is_named(tmp_path: Path) -> None:
    def inner(num: int) -> bytes:
        return b"}" + MARK + text("weight") + tensor(str(num), 1, (1,), (1,)) + b"u"

    program = dictionary(model=inner(0), ema=inner(1))
    path = archive(tmp_path / "a.pt", program, s0=np.array([3.0]), s1=np.array([4.0]))
    assert read_archive(path, within="ema")["weight"].tolist() == [4.0]
    with pytest.raises(InputError, match="expected a dictionary of tensors"):
        read_archive(path)
    flat = archive(tmp_path / "b.pt", dictionary(weight=tensor("0", 1, (1,), (1,))), s0=np.array([5.0]))
    assert read_archive(flat, within="ema")["weight"].tolist() == [5.0]


def test_in_the_older_layout_the_storages_of_other_dictionaries_are_passed_over(tmp_path: Path) -> None:
    def inner(key: str, num: int) -> bytes:
        return b"}" + MARK + text("weight") + tensor(key, num, (num,), (1,)) + b"u"

    keys = PROTO + b"](" + text("a") + text("b") + b"e" + STOP
    header = 3 * (PROTO + b"}" + STOP)
    raw = struct.pack("<q2f", 2, 1.0, 2.0) + struct.pack("<q1f", 1, 3.0)
    path = tmp_path / "a.pt"
    path.write_bytes(header + dictionary(model=inner("a", 2), ema=inner("b", 1)) + keys + raw)
    assert read_archive(path, within="ema")["weight"].tolist() == [3.0]


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
