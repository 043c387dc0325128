"""Numbers that are read strictly: "1.5" is no number of frames."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Annotated

from cyclopts import Parameter, Token

from attnscope.errors import InputError, quote

_WHOLE = re.compile(r"\d{1,18}", re.ASCII)  # fits 64 bits


def _whole(least: int, most: int = 10**18) -> Callable[[object, Sequence[Token]], int]:
    def read(_: object, tokens: Sequence[Token]) -> int:
        text = tokens[0].value
        if not _WHOLE.fullmatch(text) or not least <= int(text) <= most:
            span = f"from {least} to {most}" if most < 10**18 else f"from {least}"
            raise InputError(
                expected=f"a whole number {span}",
                got=quote(text),
                where=f"as {tokens[0].keyword}",
                remedy=f"write {max(least, 1)}",
            )
        return int(text)

    return read


def _finite(_: object, tokens: Sequence[Token]) -> float:
    try:
        value = float(tokens[0].value)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _number_error("a finite number", tokens[0], "2.5")
    return value


def _within(
    words: str, holds: Callable[[float], bool], usual: str
) -> Callable[[object, Sequence[Token]], float]:
    def read(hint: object, tokens: Sequence[Token]) -> float:
        value = _finite(hint, tokens)
        if not holds(value):
            raise _number_error(words, tokens[0], usual)
        return value

    return read


def _number_error(words: str, token: Token, usual: str) -> InputError:
    return InputError(
        expected=words,
        got=quote(token.value),
        where=f"as {token.keyword}",
        remedy=f"write for instance {usual}",
    )


_above_0 = _within("a number above 0", lambda value: value > 0, "0.5")
_between_0_and_1 = _within("a number between 0 and 1", lambda value: 0 < value < 1, "0.3")

Seed = Annotated[int, Parameter(converter=_whole(0))]
Steps = Annotated[int, Parameter(converter=_whole(1, 1000))]
NumFrames = Annotated[int, Parameter(converter=_whole(5, 1_000_000))]
Pixels = Annotated[int, Parameter(converter=_whole(16, 16_384))]
Count = Annotated[int, Parameter(converter=_whole(1, 1_000_000))]
Amount = Annotated[int, Parameter(converter=_whole(0, 10_000))]
Jobs = Annotated[int, Parameter(converter=_whole(1, 256))]
Stride = Annotated[int, Parameter(converter=_whole(0, 64))]
Tolerance = Annotated[int, Parameter(converter=_whole(0, 1000))]
Probability = Annotated[float, Parameter(converter=_between_0_and_1)]
Finite = Annotated[float, Parameter(converter=_finite)]
Hours = Annotated[float, Parameter(converter=_above_0)]
