"""Weights come out of a torch archive number by number, and nothing in the archive is executed."""

from __future__ import annotations

import hashlib
import random
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from attnscope.errors import InputError
from attnscope.models.lavie import checkpoints, read_checkpoint

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
        file.writestr("archive/version", "3\n")
        for key, values in storages.items():
            file.writestr(f"archive/data/{key.removeprefix('s')}", values.astype("<f4").tobytes())
    return path


VALUES = np.arange(12, dtype=np.float32)


def sound(path: Path) -> Path:
    program = dictionary(
        whole=tensor("0", 12, (3, 4), (4, 1)), turned=tensor("0", 12, (2, 3), (1, 4), offset=2)
    )
    return archive(path, program, s0=VALUES)


def test_tensors_come_out_with_shape_stride_and_offset(tmp_path: Path) -> None:
    found = read_checkpoint(sound(tmp_path / "a.pth"))
    assert np.array_equal(found["whole"], VALUES.reshape(3, 4))
    assert np.array_equal(found["turned"], VALUES.reshape(3, 4)[:, 2:].T)


def test_of_several_dictionaries_the_average_is_taken(tmp_path: Path) -> None:
    def inner(num: int) -> bytes:
        return b"}" + MARK + text("weight") + tensor(str(num), 1, (1,), (1,)) + b"u"

    values = {"s0": np.array([3.0]), "s1": np.array([4.0])}
    path = archive(tmp_path / "a.pt", dictionary(model=inner(0), ema=inner(1)), **values)
    assert read_checkpoint(path)["weight"].tolist() == [4.0]
    path = archive(tmp_path / "b.pt", dictionary(model=inner(0), other=inner(1)), **values)
    with pytest.raises(InputError, match="expected a dictionary of tensors"):
        read_checkpoint(path)


def test_a_file_is_held_against_its_sha256(tmp_path: Path) -> None:
    path = sound(tmp_path / "a.pth")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(read_checkpoint(path, sha256=digest.upper())) == 2
    with pytest.raises(InputError, match="expected a checkpoint with the sha256"):
        read_checkpoint(path, sha256="0" * 64)


CALLS = {
    "a call": b"cos\nmkdir\n" + MARK + text("made") + b"tR",
    "eval": b"cbuiltins\neval\n" + MARK + text("1") + b"tR",
    "an object": b"(cos\nsystem\no",
    "an instance": b"(ios\nsystem\n",
    "a new object": b"cos\nsystem\n(t\x81",
    "torch itself": b"ctorch\nload\n" + MARK + text("made") + b"tR",
    "a deep list": b"]" * 200_000 + b"a" * 199_999,
    "a set of nothing": b"\x8f",
    "a storage that is not there": tensor("9", 12, (12,), (1,)),
    "a shape beyond the storage": tensor("0", 12, (13,), (1,)),
    "an offset beyond the storage": tensor("0", 12, (12,), (1,), 1),
    "a negative stride": tensor("0", 12, (2,), (-1,)),
    "a storage of 8 TB": tensor("0", 2**31 - 1, (2**31 - 1,), (1,)),
    "no tensor": text("a word"),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_tensor_is_refused_and_not_made(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        read_checkpoint(archive(tmp_path / "evil.pth", dictionary(weight=CALLS[name]), s0=VALUES))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"not an archive", PROTO + b"}", b"\x80\x02]." * 5, dictionary(weight=tensor("0", 1, (1,), (1,)))],
)
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match="torch archive"):
        read_checkpoint(path)


def test_what_grows_when_it_is_unpacked_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", dictionary(weight=tensor("0", 1, (1,), (1,))))
        file.writestr("archive/data/0", bytes(50_000_000))
    assert path.stat().st_size < 100_000
    with pytest.raises(InputError, match="parts that are packed"):
        read_checkpoint(path)


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sound(tmp_path / "a.pth")
    monkeypatch.setattr(checkpoints, "MAX_BYTES", path.stat().st_size - 1)
    with pytest.raises(InputError, match="a file of more than"):
        read_checkpoint(path)


def test_300_damaged_archives_give_the_same_numbers_or_one_line(tmp_path: Path) -> None:
    rng, path = random.Random(0), sound(tmp_path / "a.pth")
    truth, content = read_checkpoint(path), path.read_bytes()
    truth = {name: each.clone() for name, each in truth.items()}
    refused = 0
    for trial in range(300):
        place = rng.randrange(len(content))
        changed = bytearray(content)
        if trial % 3 == 0:
            changed[place] ^= 1 << rng.randrange(8)
        elif trial % 3 == 1:
            changed[place : place + 8] = rng.randbytes(8)
        else:
            del changed[place:]
        damaged = tmp_path / f"{trial}.pth"
        damaged.write_bytes(bytes(changed))
        try:
            found = read_checkpoint(damaged)
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert found.keys() == truth.keys()
            assert all(torch.equal(found[name], truth[name]) for name in truth)
    assert refused > 200


def test_a_damaged_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(InputError, match="expected a safetensors file"):
        read_checkpoint(path)
