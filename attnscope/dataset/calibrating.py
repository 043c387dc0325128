"""Fit to one's own films from which likeness on two neighbouring shots are joined.

Known joins are those between the shots of one film, known strangers those between the end of one film and the beginning
of another. A film that itself goes from scene to scene holds both, so films of one scene each, or joins that people
marked, say more than a feature film.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attnscope._types import Floats, Vectors
from attnscope.dataset.rows import Film
from attnscope.dataset.settings import Settings
from attnscope.dataset.sources import identify_source, list_sources
from attnscope.dataset.split import split_with_seams
from attnscope.dataset.stitch import Seams
from attnscope.errors import AttnscopeError, InputError
from attnscope.metrics.scoring.workers import attempt

_MOST_STRANGERS = 200_000  # pairs of films


@dataclass(frozen=True)
class Calibration:
    """The likeness that parts joins from strangers best, and how well it does.

    ``auc`` is the probability that a join is more alike than a pair of strangers; ``joins_kept`` and
    ``strangers_joined`` the shares from ``join_likeness`` on. ``num_failed`` films could not be read.
    """

    join_likeness: float
    auc: float
    joins_kept: float
    strangers_joined: float
    num_joins: int
    num_strangers: int
    num_failed: int = 0


def calibrate(folder: Path, settings: Settings) -> Calibration:
    """Measure likeness within and between the films of a folder, and fit the threshold.

    Raises
    ------
    InputError
        Fewer than two films can be read, or none of them has a cut.
    """
    joins: list[float] = []
    first: list[Vectors] = []
    last: list[Vectors] = []
    num_failed = 0
    for file in list_sources(folder):
        seen = attempt(functools.partial(_look, folder, file, settings), file)
        if isinstance(seen, AttnscopeError):
            num_failed += 1
            continue
        film, seams = seen
        joins += [piece.likeness for piece in film.pieces if piece.likeness is not None]
        begins, ends = seams.ends()
        first.append(begins)
        last.append(ends)
    strangers = _strangers(first, last)
    if not joins or not len(strangers):
        raise InputError(
            expected="at least two films, one of them with a cut",
            got=f"{len(first)} films with {len(joins)} cuts",
            where=f"in {folder}",
            remedy="give more films",
        )
    return fit_threshold(joins, strangers, num_failed=num_failed)


def fit_threshold(
    joins: Sequence[float], strangers: Sequence[float] | Floats, *, num_failed: int = 0
) -> Calibration:
    """Find the threshold at which the share of joins kept less the share of strangers joined is largest.

    It lies in the middle of the values on both sides of it. Of several that are as good, the highest: a stranger
    that is joined spoils a clip, a join that is missed only shortens one.

    >>> found = fit_threshold([0.7, 0.8, 0.9], [0.1, 0.2, 0.5])
    >>> round(found.join_likeness, 3), found.auc, found.joins_kept, found.strangers_joined
    (0.6, 1.0, 1.0, 0.0)
    """
    same, other = np.sort(np.asarray(joins, float)), np.sort(np.asarray(strangers, float))
    values = np.unique(np.concatenate([same, other]))
    kept = 1 - np.searchsorted(same, values, side="left") / len(same)
    taken = 1 - np.searchsorted(other, values, side="left") / len(other)
    gain = kept - taken
    best = int(np.flatnonzero(gain >= gain.max() - 1e-12)[-1])
    below = values[best - 1] if best else values[best]
    # ties count half, as in the area under the curve
    less = np.searchsorted(other, same, side="left") + np.searchsorted(other, same, side="right")
    return Calibration(
        join_likeness=float((values[best] + below) / 2),
        auc=float(less.mean() / 2 / len(other)),
        joins_kept=float(kept[best]),
        strangers_joined=float(taken[best]),
        num_joins=len(same),
        num_strangers=len(other),
        num_failed=num_failed,
    )


def _look(folder: Path, file: str, settings: Settings) -> tuple[Film, Seams]:
    return split_with_seams(identify_source(folder, file), settings, folder)


def _strangers(first: Sequence[Vectors], last: Sequence[Vectors]) -> Floats:
    """How alike the end of each film and the beginning of each other one are; of very many pairs some."""
    if len(first) < 2:
        return np.zeros(0)
    alike = np.stack(last) @ np.stack(first).T
    pairs = alike[~np.eye(len(first), dtype=bool)].astype(float)
    return pairs[:: -(-len(pairs) // _MOST_STRANGERS)]
