"""A smallest set of labels for which something still holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

Labels = tuple[int, ...]


def reduce_labels(labels: Sequence[int], holds: Callable[[Labels], bool]) -> Labels:
    """Leave out labels while something holds, in large parts first, then in smaller ones.

    Delta debugging (Zeller and Hildebrandt, TSE 2002): with n parts, keep one part alone, or leave one out, or cut the
    parts in two. It holds for the result, and for none of the sets with one label less; where it holds for every
    larger set of one for which it holds, the answer comes after about log n questions for one label that matters.

    >>> reduce_labels(range(1, 31), lambda kept: {7, 12} <= set(kept))
    (7, 12)
    """
    kept, num_parts = tuple(labels), 2
    while len(kept) > 1:
        num_parts = min(num_parts, len(kept))
        parts = _parts(kept, num_parts)
        without = [tuple(label for label in kept if label not in part) for part in parts]
        if (alone := next((part for part in parts if holds(part)), None)) is not None:
            kept, num_parts = alone, 2
        elif num_parts > 2 and (rest := next((each for each in without if holds(each)), None)) is not None:
            kept, num_parts = rest, max(num_parts - 1, 2)
        elif num_parts < len(kept):
            num_parts *= 2
        else:
            break
    return kept


def _parts(labels: Labels, num_parts: int) -> list[Labels]:
    edges = [len(labels) * part // num_parts for part in range(num_parts + 1)]
    return [labels[start:stop] for start, stop in pairwise(edges)]
