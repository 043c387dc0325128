"""What counts as a whole number, a seed, a share or a strength, said once; what does not is refused in one line.

A truth value is no number, although Python lets it pass for one: `seed=True` is a misunderstanding.
"""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import TypeGuard

from attnscope.errors import InputError, quote

MAX_STRENGTH = 1e6
"""Beyond this a weight is 0 in every floating point format; a larger number is a mistake."""


def is_whole(value: object) -> TypeGuard[int]:
    """Say whether a value is a whole number, and no truth value.

    >>> import numpy as np
    >>> is_whole(3), is_whole(np.int64(3)), is_whole(True), is_whole(3.0)
    (True, True, False, False)
    """
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[float]:
    """Say whether a value is a finite number, and no truth value.

    >>> is_number(3), is_number(0.5), is_number(True), is_number(math.nan)
    (True, True, False, False)
    """
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)


def require_whole(
    value: object,
    expected: str,
    where: str,
    *,
    least: int = 0,
    most: int = 10**18,
    remedy: str = "",
    error: type[InputError] = InputError,
) -> int:
    """Return a whole number within its bounds, both included, or refuse it.

    ``expected`` and ``where`` are the words of the message, see :mod:`attnscope.errors`.

    >>> require_whole(2, "a window of at least 1", "in sweep", least=1)
    2
    >>> require_whole(True, "a window of at least 1", "in sweep", least=1)
    Traceback (most recent call last):
    ...
    attnscope.errors.InputError: expected a window of at least 1, got True in sweep; write 1
    """
    if is_whole(value) and least <= value <= most:
        return int(value)
    raise error(expected=expected, got=quote(value), where=where, remedy=remedy or f"write {max(least, 1)}")


def require_number(
    value: object,
    expected: str,
    where: str,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    remedy: str = "write for instance 0.5",
    error: type[InputError] = InputError,
) -> float:
    """Return a finite number within its bounds, or refuse it; `above` and `below` are left out, the others included.

    >>> require_number(0.95, "a level between 0 and 1", "in bootstrap", above=0, below=1)
    0.95
    """
    if is_number(value) and least <= value <= most and above < value < below:
        return value
    raise error(expected=expected, got=quote(value), where=where, remedy=remedy)


def require_seed(seed: object, where: str, *, error: type[InputError] = InputError) -> int:
    """Return what a random generator can begin with, a whole number from 0, or refuse it."""
    return require_whole(seed, "a seed from 0", where, remedy="write a whole number", error=error)


def require_share(share: object, where: str, *, error: type[InputError] = InputError) -> float:
    """Return a share of a whole, from 0 to 1, or refuse it."""
    return require_number(
        share, "a share from 0 to 1", where, least=0, most=1, remedy="write 0.5", error=error
    )


def require_strength(strength: object, where: str, *, error: type[InputError] = InputError) -> float:
    """Return what a hidden pair of tokens loses in natural-log units, or refuse it."""
    expected, remedy = f"a strength from 0 to {MAX_STRENGTH:g}", "0 changes nothing, 8 hides almost all"
    return require_number(strength, expected, where, least=0, most=MAX_STRENGTH, remedy=remedy, error=error)


def require_multiplicity(multiplicity: object, where: str, *, error: type[InputError] = InputError) -> float:
    """Return how many times a key counts, more than never, or refuse it."""
    expected = f"a multiplicity above 0 and up to {MAX_STRENGTH:g}"
    remedy = "2 counts a key twice, hide it with ~ instead of 0"
    return require_number(
        multiplicity, expected, where, above=0, most=MAX_STRENGTH, remedy=remedy, error=error
    )
