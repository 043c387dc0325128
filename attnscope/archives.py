"""Read the tensors of a torch archive without unpickling it.

A ``.pth`` file is a pickle, and a pickle is a program: it can call anything when it is loaded. Here the program is
never run. Its opcodes are read as text (`pickletools`), and a machine that knows only dictionaries, tuples and "this
tensor lies there" follows them; whatever else a file asks for is refused. Both layouts that torch has written are
understood: the zip archive, and the older one of pickles in a row.
"""

from __future__ import annotations

import io
import pickletools
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from attnscope.errors import InputError, quote

Arrays = dict[str, npt.NDArray[Any]]

_KINDS: dict[str, np.dtype[Any]] = {
    "torch FloatStorage": np.dtype("<f4"),
    "torch HalfStorage": np.dtype("<f2"),
    "torch DoubleStorage": np.dtype("<f8"),
    "torch LongStorage": np.dtype("<i8"),
    "torch IntStorage": np.dtype("<i4"),
}
_REBUILD = "torch._utils _rebuild_tensor_v2"
_ORDERED = "collections OrderedDict"
_HOOKS = "torch._utils _rebuild_parameter"


@dataclass(frozen=True)
class _Name:
    """What a pickle calls by name. It stays a name."""

    text: str


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class _Slice:
    """Where a tensor lies in its storage; offset and strides in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def read(self, raw: bytes) -> npt.NDArray[Any]:
        flat = np.frombuffer(raw, self.storage.dtype)
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        if self.offset < 0 or min(self.strides, default=0) < 0 or (0 not in self.shape and last >= len(flat)):
            raise InputError(
                expected="a tensor inside its storage",
                got=f"shape {self.shape} at {self.offset} of {len(flat)} values",
                where="in a torch archive",
                remedy="fetch the file anew",
            )
        step = self.storage.dtype.itemsize
        view = np.lib.stride_tricks.as_strided(
            flat[self.offset :], self.shape, tuple(step * each for each in self.strides)
        )
        return np.array(view)


def read_archive(path: Path, *, within: str = "") -> Arrays:
    """Give the tensors of a torch file by name, as numpy arrays; nothing in the file is executed.

    A training script often writes several dictionaries into one file, the running average of the weights as ``ema``
    for instance; ``within`` names the one that is wanted, where the file has one of that name.

    Raises
    ------
    InputError
        The file asks for more than tensors in dictionaries, or is damaged.
    """
    try:
        if zipfile.is_zipfile(path):
            return _read_zip(path, within)
        with open(path, "rb") as file:
            return _read_row(file, within)
    except (zipfile.BadZipFile, KeyError, IndexError, struct.error, ValueError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            expected="a torch archive of tensors",
            got=quote(str(error), 80),
            where=f"in {path}",
            remedy="fetch it anew",
        ) from error


def _read_zip(path: Path, within: str) -> Arrays:
    with zipfile.ZipFile(path) as archive:
        (index,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        root = index.removesuffix("data.pkl")
        slices = _slices_of(_follow(io.BytesIO(archive.read(index))), within)
        return {
            name: each.read(archive.read(f"{root}data/{each.storage.key}")) for name, each in slices.items()
        }


def _read_row(file: BinaryIO, within: str) -> Arrays:
    """Magic number, version, facts of the system, the dictionary, the order of the storages; then the storages."""
    for _ in range(3):
        _follow(file)
    content, order = _follow(file), _follow(file)
    slices = _slices_of(content, within)
    width = {each.key: each.dtype.itemsize for each in _storages(content)}
    raw = {}
    for key in order:
        (num,) = struct.unpack("<q", file.read(8))
        raw[key] = file.read(num * width[key])
    return {name: each.read(raw[each.storage.key]) for name, each in slices.items()}


def _storages(content: Any) -> Iterator[_Storage]:
    """Storages of all dictionaries: they lie in a row, and one is found only by passing those before it."""
    for value in content.values() if isinstance(content, dict) else ():
        if isinstance(value, _Slice):
            yield value.storage
        yield from _storages(value)


def _slices_of(content: Any, within: str) -> dict[str, _Slice]:
    if isinstance(content, dict) and isinstance(content.get(within), dict):
        content = content[within]
    if not isinstance(content, dict) or not all(isinstance(each, _Slice) for each in content.values()):
        raise InputError(
            expected="a dictionary of tensors",
            got=quote(content),
            where="in a torch archive",
            remedy="give the weights alone",
        )
    return content


def _follow(file: BinaryIO) -> Any:
    """Follow one pickle up to its end, on a stack, as the format says; calls become data."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    marks: list[int] = []

    def since_mark() -> list[Any]:
        start = marks.pop()
        taken = stack[start:]
        del stack[start:]
        return taken

    for opcode, argument, _ in pickletools.genops(file):
        name = opcode.name
        if name in ("PROTO", "FRAME", "STOP"):
            continue
        if name == "MARK":
            marks.append(len(stack))
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if name == "MEMOIZE" else _number(argument)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[_number(argument)])
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name](argument))
        elif name in _TUPLES:
            num = _TUPLES[name]
            items = since_mark() if num is None else [stack.pop() for _ in range(num)][::-1]
            stack.append(tuple(items))
        elif name in ("SETITEMS", "APPENDS"):
            _extend(stack, since_mark(), pairs=name == "SETITEMS")
        elif name in ("SETITEM", "APPEND"):
            items = [stack.pop() for _ in range(2 if name == "SETITEM" else 1)][::-1]
            _extend(stack, items, pairs=name == "SETITEM")
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop()))
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            stack.append(_call(function, arguments))
        elif name == "BUILD":
            stack.pop()  # attributes of the dictionary, such as version numbers: not tensors
        else:
            raise InputError(
                expected="tensors only",
                got=f"the instruction {name}",
                where="in a torch archive",
                remedy="it could run code, convert the file to safetensors where you trust it",
            )
    return stack.pop()


_CONSTANTS: dict[str, Callable[[Any], Any]] = {
    "EMPTY_DICT": lambda _: {},
    "EMPTY_LIST": lambda _: [],
    "EMPTY_TUPLE": lambda _: (),
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "GLOBAL": lambda argument: _Name(str(argument)),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINUNICODE"), str),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1"), int),
}
_TUPLES: dict[str, int | None] = {"TUPLE": None, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _extend(stack: list[Any], items: list[Any], *, pairs: bool) -> None:
    if pairs:
        stack[-1].update(zip(items[::2], items[1::2], strict=True))
    else:
        stack[-1].extend(items)


def _number(argument: Any) -> int:
    return int(argument)


def _storage(reference: Any) -> _Storage:
    kind = reference[1].text if isinstance(reference[1], _Name) else ""
    if reference[0] != "storage" or kind not in _KINDS:
        raise InputError(
            expected="a storage of numbers",
            got=quote(kind),
            where="in a torch archive",
            remedy="give the weights alone",
        )
    return _Storage(str(reference[2]), _KINDS[kind])


def _call(function: Any, arguments: Any) -> Any:
    """What the two calls that every archive of tensors makes would give, as data."""
    text = function.text if isinstance(function, _Name) else ""
    if text == _ORDERED and not arguments:
        return {}
    if text == _REBUILD and isinstance(arguments[0], _Storage):
        return _Slice(arguments[0], int(arguments[1]), tuple(arguments[2]), tuple(arguments[3]))
    if text == _HOOKS and isinstance(arguments[0], _Slice):
        return arguments[0]
    raise InputError(
        expected="tensors only",
        got=f"a call of {quote(text or function)}",
        where="in a torch archive",
        remedy="it is not made, convert the file to safetensors where you trust it",
    )
