"""What was measured of the ways on this device: which are right, and how long each takes; `auto` follows it.

One file a device and a set of versions, in the user's cache; the folder named by ATTNSCOPE_DEVICE_TABLES instead,
where that is set. Nothing is ever sent anywhere.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import platform
import re
import warnings
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

FOLDER_VARIABLE = "ATTNSCOPE_DEVICE_TABLES"


@dataclass(frozen=True)
class Timing:
    """How long a way took for one call: `operation` is `mass`, `mass and output`, `hard mask` or `soft mask`.

    `tokens` are those of the keys, `groups` how many groups they form, `dtype` a type as PyTorch calls it.
    """

    operation: str
    dtype: str
    batch: int
    tokens: int
    groups: int
    heads: int
    head_size: int
    way: str
    least_s: float


@dataclass(frozen=True)
class Rates:
    """Operations a second: of plain attention, of matrix products, and of looking (one product of query and key)."""

    attention: float
    linear: float
    mass: float


@dataclass(frozen=True)
class DeviceTable:
    """The ways that are wrong on a device, by operation, way and type, and the times of all others."""

    device: str
    versions: dict[str, str]
    faults: tuple[tuple[str, str, str, str], ...]
    timings: tuple[Timing, ...]
    speeds: dict[str, Rates]

    def rates(self, dtype: str) -> Rates | None:
        """The speeds of a type (`bfloat16`, ...); None where it was not measured."""
        return self.speeds.get(dtype)

    def is_wrong(self, operation: str, dtype: torch.dtype, way: str) -> bool:
        """Whether a way failed the comparison with the definition: of `attention` or `mass`, in this type."""
        return any(fault[:3] == (operation, way, name_of(dtype)) for fault in self.faults)

    def fastest(
        self, operation: str, dtype: torch.dtype, tokens: int, groups: int, ways: Collection[str]
    ) -> tuple[str, Timing] | None:
        """Return the fastest of some ways at the measured shape that is nearest; None where none was measured."""
        rows = [row for row in self.timings if (row.operation, row.dtype) == (operation, name_of(dtype))]
        rows = [row for row in rows if row.way in ways]
        if not rows:
            return None

        def distance(row: Timing) -> float:
            of_group = (row.tokens / row.groups, tokens / groups)
            return abs(math.log(row.tokens / tokens)) + abs(math.log(of_group[0] / of_group[1]))

        nearest = min(rows, key=distance)
        alike = [row for row in rows if _shape(row) == _shape(nearest)]
        best = min(alike, key=lambda row: row.least_s)
        return best.way, best

    def write(self, folder: Path | None = None) -> Path:
        """Keep the table where `auto` looks for it; whole or not at all."""
        path = _path(self.device, self.versions, folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.partial")
        part.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        part.replace(path)
        _read.cache_clear()
        return path


def _shape(row: Timing) -> tuple[int, ...]:
    return row.batch, row.tokens, row.groups, row.heads, row.head_size


def name_of(dtype: torch.dtype) -> str:
    """Return what PyTorch calls a type, without its first word.

    >>> name_of(torch.bfloat16)
    'bfloat16'
    """
    return str(dtype).removeprefix("torch.")


def _find_table(device: str | torch.device) -> DeviceTable | None:
    """Return the table of a device, None where it was not measured with these versions.

    >>> _find_table("meta") is None
    True
    """
    kind = torch.device(device)
    if kind.type not in ("cpu", "cuda"):
        return None
    if kind.type == "cuda" and not torch.cuda.is_available():
        return None
    return _read(device_name(kind), os.environ.get(FOLDER_VARIABLE, ""))


read_table: Callable[[str | torch.device], DeviceTable | None] = torch.compiler.disable(_find_table)  # type: ignore[no-untyped-call]
"""The same where a model is compiled: files and caches are nothing to trace."""


@functools.cache
def _read(device: str, folder: str) -> DeviceTable | None:
    path = _path(device, versions(), Path(folder) if folder else None)
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return DeviceTable(
            found["device"],
            found["versions"],
            tuple((str(a), str(b), str(c), str(d)) for a, b, c, d in found["faults"]),
            tuple(Timing(**row) for row in found["timings"]),
            {dtype: Rates(**rates) for dtype, rates in found["speeds"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        warnings.warn(
            f"the table of this device, {path}, cannot be read ({error}); measure anew", stacklevel=2
        )
        return None


def device_name(device: torch.device) -> str:
    """Return what tells a device from others: its model; of a processor also how many threads it computes with."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_processor()}, {torch.get_num_threads()} threads"


@functools.cache
def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        lines = []
    return lines[0] if lines else platform.processor() or platform.machine()


@functools.cache
def versions() -> dict[str, str]:
    """Return what a table holds for: versions of torch and triton, and a digest of the code that was measured."""
    sources = sorted(Path(__file__).parent.rglob("*.py"))
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    try:
        of_triton = version("triton")
    except PackageNotFoundError:
        of_triton = "none"
    return {"torch": torch.__version__, "triton": of_triton, "kernels": digest}


def _path(device: str, held: dict[str, str], folder: Path | None) -> Path:
    if folder is None:
        named = os.environ.get(FOLDER_VARIABLE)
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = Path(named) if named else cache / "attnscope_kernels"
    digest = hashlib.sha256(json.dumps([device, held], sort_keys=True).encode()).hexdigest()[:12]
    return folder / f"{re.sub(r'[^A-Za-z0-9]+', '-', device).strip('-')}-{digest}.json"
