"""What a model on disk consists of, read from the heads of its safetensors files: no weight is loaded."""

from __future__ import annotations

import json
import math
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from attnscope.errors import UnknownModelError

BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "F8_E4M3": 1, "F8_E5M2": 1}
"""How many bytes a number takes, by the names that safetensors has for types; one byte where it is not listed."""

_LARGEST_HEAD = 100 * 2**20  # as safetensors itself has it


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file: what type of numbers it holds, and its shape."""

    kind: str
    shape: tuple[int, ...]

    @property
    def num_values(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def read_header(path: Path) -> dict[str, StoredTensor]:
    """Return the tensors of a safetensors file, by name.

    Raises
    ------
    UnknownModelError
        It is no such file, or a damaged one.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _LARGEST_HEAD:
                raise ValueError("its head is too long")
            entries = json.loads(file.read(length))
            return {
                name: StoredTensor(str(entry["dtype"]), tuple(map(int, entry["shape"])))
                for name, entry in entries.items()
                if name != "__metadata__"
            }
    except (OSError, struct.error, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnknownModelError(
            expected="a safetensors file",
            got=f"one that cannot be read ({type(error).__name__})",
            where=f"in {path}",
            remedy="fetch it anew",
        ) from error


def choose_files(folder: Path, variant: str | None) -> Iterator[Path]:
    """Yield the weight files of one part of a model; of several precisions ("variants") the one that was asked for."""
    files = sorted(folder.glob("*.safetensors"))
    marked = [file for file in files if variant is not None and f".{variant}." in file.name]
    yield from marked or [file for file in files if file.name.count(".") == 1] or files


def read_parts(folder: Path, variant: str | None = None) -> dict[str, dict[str, StoredTensor]]:
    """Return the tensors of every part of a pipeline's folder: `transformer`, `vae`, `text_encoder`, ..."""
    parts: dict[str, dict[str, StoredTensor]] = {}
    for part in sorted(path for path in folder.iterdir() if path.is_dir()):
        for file in choose_files(part, variant):
            parts.setdefault(part.name, {}).update(read_header(file))
    return parts


def stored_kind(tensors: dict[str, StoredTensor]) -> str:
    """Return the type that most numbers are stored in.

    >>> stored_kind({"a": StoredTensor("BF16", (4, 4)), "b": StoredTensor("F32", (4,))})
    'BF16'
    """
    counts: Counter[str] = Counter()
    for tensor in tensors.values():
        counts[tensor.kind] += tensor.num_values
    return counts.most_common(1)[0][0] if counts else "F32"
