"""The only parser of ranges: "7-28,30", "5", "-6:", "all" mean the same on the command line and in Python."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Sequence
from numbers import Integral

from attnscope._types import Range
from attnscope.errors import RangeError, quote

# Nine digits are more than any model has layers; more would only feed int() hostile strings.
_SPAN = re.compile(r"(\d{1,9})\s*(?:-\s*(\d{1,9}))?", re.ASCII)
_LAST = re.compile(r"-\s*(\d{1,9})\s*:", re.ASCII)


def parse_range(text: Range, available: Sequence[int], *, name: str) -> tuple[int, ...]:
    """Say which layers (heads, steps) are meant, the way one would write it on paper.

    Spans include both ends, because they are spans of labels: "7-28" are 22 layers. Parts are joined by
    commas. "-6:" are the last six of ``available``, "all" is all of it. A label that is not available is an
    error; nothing is clipped.

    Parameters
    ----------
    text : str, int, slice or iterable of int
        The range; a number or several numbers are taken as labels, a slice as a span of labels, as ``.sel`` takes it.
    available : sequence of int
        The labels there are.
    name : str
        What the labels are, for the error message: "layers", "heads", "steps".

    Returns
    -------
    tuple of int
        The labels meant, sorted, each once.

    Raises
    ------
    RangeError
        The text cannot be read, names nothing, or names a label that is not available.

    Examples
    --------
    >>> parse_range("7-9,30", range(1, 31), name="layers")
    (7, 8, 9, 30)
    >>> parse_range("-3:", range(1, 31), name="layers")
    (28, 29, 30)
    >>> len(parse_range("all", range(1, 31), name="layers"))
    30
    >>> parse_range("29-31", range(1, 31), name="layers")
    Traceback (most recent call last):
        ...
    attnscope.errors.RangeError: expected layers among 1-30, got 31 in '29-31'; name only layers that exist, or "all"
    """
    text = write_slice(text, name=name) if isinstance(text, slice) else text
    labels = (
        _labels_of_text(text, available, name) if isinstance(text, str) else _labels_of_numbers(text, name)
    )
    present = set(available)
    chosen: set[int] = set()
    for label in labels:
        # Checked one at a time: "1-999999999" must fail at the first label that does not exist.
        if label not in present:
            raise RangeError(
                expected=f"{name} among {format_range(available)}",
                got=f"{label}",
                where=f"in {quote(text)}",
                remedy=f'name only {name} that exist, or "all"',
            )
        chosen.add(label)
    if not chosen:
        raise RangeError(
            expected=f"at least one of {name} {format_range(available)}",
            got="none",
            where=f"in {quote(text)}",
            remedy='name some, or write "all"',
        )
    return tuple(sorted(chosen))


def write_slice(span: slice, *, name: str) -> str:
    """Write a slice of labels, both ends included, as text that :func:`parse_range` reads.

    Raises
    ------
    RangeError
        It has a step, or lacks an end without which nobody knows how far it goes.

    Examples
    --------
    >>> [write_slice(span, name="layers") for span in (slice(7, 28), slice(None), slice(-6, None))]
    ['7-28', 'all', '-6:']
    """
    first, last = span.start, span.stop
    whole = all(
        isinstance(end, Integral) and not isinstance(end, bool) for end in (first, last) if end is not None
    )
    if whole and span.step is None:
        if first is None and last is None:
            return "all"
        if first is not None and first < 0 and last is None:
            return f"{int(first)}:"
        if first is not None and last is not None and first >= 0 and last >= 0:
            return f"{int(first)}-{int(last)}"
    raise RangeError(
        expected=f"a slice of {name} with both ends and no step",
        got=quote(span),
        where="as a range",
        remedy="write for instance slice(7, 28), which includes both, slice(-6, None), or '7-28'",
    )


def _labels_of_numbers(numbers: int | Iterable[int], name: str) -> list[int]:
    try:
        candidates = list(numbers) if isinstance(numbers, Iterable) else [numbers]
        if any(isinstance(candidate, bool) for candidate in candidates):
            raise TypeError("a truth value is no label")
        return [operator.index(candidate) for candidate in candidates]
    except TypeError as error:
        raise RangeError(
            expected=f"{name} as whole numbers",
            got=quote(numbers),
            where="as a range",
            remedy="write for instance [7, 8, 9] or '7-9'",
        ) from error


def _labels_of_text(text: str, available: Sequence[int], name: str) -> Iterable[int]:
    for part in text.split(","):
        yield from _labels_of_part(part.strip(), text, available, name)


def _labels_of_part(part: str, text: str, available: Sequence[int], name: str) -> Iterable[int]:
    if part.lower() == "all":
        return available
    if last := _LAST.fullmatch(part):
        return _last(int(last[1]), text, available, name)
    span = _SPAN.fullmatch(part)
    if span is None:
        raise RangeError(
            expected=f'{name} like "7-28,30", "5", "-6:" or "all"',
            got=quote(part),
            where=f"in {quote(text)}",
            remedy="write numbers, spans and commas only",
        )
    first, last_label = int(span[1]), int(span[2] or span[1])
    if last_label < first:
        raise RangeError(
            expected=f"a span of {name} from low to high",
            got=f"{part}",
            where=f"in {quote(text)}",
            remedy=f"write {last_label}-{first}",
        )
    return range(first, last_label + 1)


def _last(count: int, text: str, available: Sequence[int], name: str) -> Sequence[int]:
    if not 1 <= count <= len(available):
        raise RangeError(
            expected=f"the last 1 to {len(available)} of {name} {format_range(available)}",
            got=f"{count}",
            where=f"in {quote(text)}",
            remedy=f"ask for at most {len(available)}",
        )
    return sorted(available)[-count:]


def format_range(labels: Iterable[int]) -> str:
    """Write labels back in the shortest form that :func:`parse_range` reads.

    >>> format_range([1, 2, 3, 7, 9, 10])
    '1-3,7,9-10'
    >>> format_range([])
    'none'
    """
    spans: list[list[int]] = []
    for label in sorted(set(labels)):
        if spans and label == spans[-1][1] + 1:
            spans[-1][1] = label
        else:
            spans.append([label, label])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans) or "none"
