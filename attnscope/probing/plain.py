"""Whatever a pipeline or its scheduler holds, in a form that JSON has: the record of a run never stops the run."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Set
from enum import Enum
from fractions import Fraction
from os import PathLike, fspath
from typing import Any


def plain(value: object) -> Any:
    """Return a value as JSON can hold it, without loss where that is possible.

    Numbers of numpy and torch become numbers, infinities and nan the text that says so, an enumeration its value, a
    path and a fraction their text. Of what holds much (arrays, tensors, pictures) the class and a digest remain, so
    that two runs of two pictures are not the same run; of anything else the class.

    >>> plain({"lower": float("-inf"), 3: (1, Fraction(1, 2)), "other": object()})
    {'lower': '-inf', '3': [1, '1/2'], 'other': '<object>'}
    """
    match value:
        case Enum():
            return plain(value.value)
        case None | bool() | str():
            return value if value is None or isinstance(value, bool) else str(value)
        case int():
            return int(value)
        case float():
            return float(value) if math.isfinite(value) else str(float(value))
        case Mapping():
            return {str(plain(name)): plain(item) for name, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case Set():
            return sorted(map(plain, value), key=str)
        case Fraction():
            return str(value)
        case PathLike():
            return str(fspath(value))
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return plain(value.item())
    if type(value).__module__ == "torch" and type(value).__name__ in ("dtype", "device"):
        return str(value)
    content = _content(value)
    return f"<{type(value).__name__}{' ' + hashlib.sha256(content).hexdigest()[:16] if content else ''}>"


def _content(value: Any) -> bytes:
    """The bytes of an array, a tensor or a picture; none of anything else."""
    if type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "contiguous"):
        import torch

        whole = value.detach().cpu().contiguous().reshape(-1)
        numbers: bytes = whole.view(torch.uint8).numpy().tobytes()
        return numbers + str(tuple(value.shape)).encode()
    return value.tobytes() if hasattr(value, "tobytes") else b""
