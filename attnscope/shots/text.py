"""Shots as people write them: in a prompt, or on the command line. Read and written here, planned in ``plan.py``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Literal

from attnscope.errors import ShotPlanError, quote

# Bounded digits: a hostile prompt must not buy a number with a million digits.
_NUMBER = r"((?:\d{1,6}(?:\.\d{0,40})?|\.\d{1,40})(?:e-\d{1,2})?)"
_MARKER = re.compile(r"\bshot\s*(\d{1,4})\s*:", re.IGNORECASE | re.ASCII)
_ESCAPED = re.compile(r"\\([\\:;,\s])")
_TRIMMED = " \t\r\n;,"
_SPAN = re.compile(rf"\s*\[\s*{_NUMBER}\s*s?\s*[,-]\s*{_NUMBER}\s*s?\s*\]", re.IGNORECASE | re.ASCII)
_SPEC_NUMBER = _NUMBER.replace("{1,6}", "{1,8}", 1)  # also frames, of which there may be more than seconds
_SPEC_SPAN = re.compile(rf"{_SPEC_NUMBER}\s*([sf]?)\s*-\s*{_SPEC_NUMBER}\s*([sf])", re.IGNORECASE | re.ASCII)
_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_DECLARED = re.compile(rf"\s*(\d{{1,4}}|{'|'.join(_WORDS)})\s+shots?\s*[:;,.]", re.IGNORECASE | re.ASCII)
_PROMPT_FORM = '"Two shots: ...; Shot 1: [0s, 4s] ...; Shot 2: [4s, 8s] ..."'
_SPEC_FORM = '"0-1.5s,1.5-3s" or "0-24f,24-49f"'

Span = tuple[Fraction, Fraction]


@dataclass(frozen=True)
class ShotPrompt:
    """A prompt that lists its shots, taken apart: what holds for all of them, and each caption with its time.

    ``general`` is the text before the first shot, without the number of shots; ``captions`` has one entry per
    shot, ``times_s`` its start and stop in seconds.
    """

    general: str
    captions: tuple[str, ...]
    times_s: tuple[tuple[float, float], ...]

    def to_text(self) -> str:
        r"""Write the prompt so that :func:`parse_prompt` gives exactly this one again.

        What would be read as something else, such as a caption that says "shot 2:", gets a backslash before it.

        >>> prompt = ShotPrompt("a ball", ("as in shot 2: wide", "close;"), ((0.0, 1e-05), (1e-05, 2.0)))
        >>> print(prompt.to_text())
        Two shots: a ball; Shot 1: [0s, 0.00001s] as in shot 2\: wide; Shot 2: [0.00001s, 2s] close\;
        >>> parse_prompt(prompt.to_text()) == prompt
        True
        """
        num = len(self.captions)
        head = f"{_WORDS[num - 1].capitalize() if num <= len(_WORDS) else num} shot{'s' if num > 1 else ''}: "
        shots = [
            f"Shot {number}: [{_decimal(start)}s, {_decimal(stop)}s] {_escape(caption)}"
            for number, (caption, (start, stop)) in enumerate(
                zip(self.captions, self.times_s, strict=True), start=1
            )
        ]
        return head + "; ".join([_escape(self.general), *shots])


def parse_prompt(text: str) -> ShotPrompt:
    """Take a prompt apart that lists its shots, as CineTrans prompts do.

    The form is ``"Two shots: general; Shot 1: [0s, 4s] caption; Shot 2: [4s, 8s] caption"``. The number of
    shots in front, the spaces and the "s" may be missing. Shots must be numbered from 1, begin at 0 s, and
    follow each other without gap or overlap.

    Raises
    ------
    ShotPlanError
        The text lists no shots, or times or numbers contradict each other.

    Examples
    --------
    >>> parse_prompt("Two shots: a red ball; Shot 1: [0s, 4s] wide shot; Shot2:[4,8.5] close-up.")
    ShotPrompt(general='a red ball', captions=('wide shot', 'close-up.'), times_s=((0.0, 4.0), (4.0, 8.5)))
    """
    markers = _find_markers(text)
    stops = [marker.start() for marker in markers[1:]] + [len(text)]
    spans, captions = [], []
    for marker, stop in zip(markers, stops, strict=True):
        span = _SPAN.match(text, marker.end())
        assert span is not None
        spans.append((Fraction(span[1]), Fraction(span[2])))
        captions.append(_trim(text[span.end() : stop]))
    _require_contiguous(spans, "s", text)
    general = _general(text[: markers[0].start()], len(markers), text)
    return ShotPrompt(general, tuple(captions), tuple((float(start), float(stop)) for start, stop in spans))


def _find_markers(text: str) -> list[re.Match[str]]:
    """Where a shot begins: "Shot 3:" and a time. Without a time it is what a caption says, but for the next number."""
    markers = list(_MARKER.finditer(text))
    timed: list[re.Match[str]] = []
    stops = [marker.start() for marker in markers[1:]] + [len(text)]
    for marker, stop in zip(markers, stops, strict=False):
        if _SPAN.match(text, marker.end()):
            timed.append(marker)
        elif int(marker[1]) == len(timed) + 1:
            raise ShotPlanError(
                expected=f"a time like [0s, 4s] after {quote(marker[0])}",
                got=quote(text[marker.end() : stop][:24]),
                where=f"in {quote(text)}",
                remedy="write start and stop in seconds, or \\: where a caption says so",
            )
    if not timed:
        raise ShotPlanError(
            expected=f"a prompt like {_PROMPT_FORM}",
            got="no shots",
            where=f"in {quote(text)}",
            remedy="list the shots",
        )
    numbers = [int(marker[1]) for marker in timed]
    if numbers != list(range(1, len(numbers) + 1)):
        raise ShotPlanError(
            expected="shots numbered 1, 2, 3, ... in order",
            got=quote(numbers),
            where=f"in {quote(text)}",
            remedy="renumber them",
        )
    return timed


def _general(head: str, num_listed: int, text: str) -> str:
    declared = _DECLARED.match(head)
    if declared is None:
        return _trim(head)
    word = declared[1].lower()
    num_declared = int(word) if word.isdigit() else _WORDS.index(word) + 1
    if num_declared != num_listed:
        raise ShotPlanError(
            expected=f"{num_declared} shots because the prompt begins with {quote(declared[0].strip())}",
            got=f"{num_listed}",
            where=f"in {quote(text)}",
            remedy="correct the number or list the missing shots",
        )
    return _trim(head[declared.end() :])


def _trim(text: str) -> str:
    """Take off what separates the parts of a prompt, and the backslashes before what does not."""
    kept = text.strip(_TRIMMED)
    lost = text[len(text.rstrip(_TRIMMED)) :]
    # an odd number of backslashes at the end holds on to the sign behind it
    if lost and (len(kept) - len(kept.rstrip("\\"))) % 2:
        kept += lost[0]
    return _ESCAPED.sub(r"\1", kept)


def _escape(text: str) -> str:
    """Write a caption so that `_trim` gives it back: backslashes before what would be read or lost."""
    written = _MARKER.sub(lambda marker: f"{marker[0][:-1]}\\:", text.replace("\\", "\\\\"))
    inside = written.strip(_TRIMMED)
    start = len(written) - len(written.lstrip(_TRIMMED)) if inside else 0
    before, after = written[:start], written[start + len(inside) :]
    around = ["".join(f"\\{sign}" for sign in part) for part in (before, after)]
    return f"{around[0]}{inside}{around[1]}"


def _decimal(number: float) -> str:
    """Write a number as it is, without an exponent."""
    written = format(Decimal(repr(float(number))), "f")
    return written.removesuffix(".0")


def parse_spec(spec: str) -> tuple[list[Span], Literal["s", "f"]]:
    """Read spans off the command line; returns them and their unit, seconds or frames.

    >>> parse_spec("0-1.5s,1.5-3s")
    ([(Fraction(0, 1), Fraction(3, 2)), (Fraction(3, 2), Fraction(3, 1))], 's')
    """
    spans, units = [], set()
    for part in spec.split(","):
        match = _SPEC_SPAN.fullmatch(part.strip())
        if match is None:
            raise ShotPlanError(
                expected=f"shots like {_SPEC_FORM}",
                got=quote(part.strip()),
                where=f"in {quote(spec)}",
                remedy="write start, stop and the unit s or f",
            )
        spans.append((Fraction(match[1]), Fraction(match[3])))
        units |= {unit.lower() for unit in (match[2], match[4]) if unit}
    if len(units) != 1:
        raise ShotPlanError(
            expected="one unit for all shots",
            got="s and f",
            where=f"in {quote(spec)}",
            remedy=f"use {_SPEC_FORM}",
        )
    unit: Literal["s", "f"] = "s" if units == {"s"} else "f"
    _require_contiguous(spans, unit, spec)
    return spans, unit


def _require_contiguous(spans: list[Span], unit: str, text: str) -> None:
    if spans[0][0] != 0:
        raise ShotPlanError(
            expected=f"shot 1 to begin at 0{unit}",
            got=f"{_show(spans[0], unit)}",
            where=f"in {quote(text)}",
            remedy=f"begin at 0{unit}",
        )
    for number, (start, stop) in enumerate(spans, start=1):
        if stop <= start:
            raise ShotPlanError(
                expected=f"shot {number} to stop after it starts",
                got=f"{_show((start, stop), unit)}",
                where=f"in {quote(text)}",
                remedy="write the earlier time first",
            )
    for number, ((start, stop), following) in enumerate(pairwise(spans), start=2):
        if following[0] != stop:
            fault = "overlap with" if following[0] < stop else "gap after"
            raise ShotPlanError(
                expected=f"shot {number} to begin where shot {number - 1} stops",
                got=f"{_show(following, unit)} after {_show((start, stop), unit)} ({fault} shot {number - 1})",
                where=f"in {quote(text)}",
                remedy="let every shot begin where the one before it stops",
            )


def _show(span: Span, unit: str) -> str:
    return f"[{float(span[0]):g}{unit}, {float(span[1]):g}{unit}]"
