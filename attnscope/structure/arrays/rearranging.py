"""What a statistic would be if other films, or other places, had the cuts: two nulls that are exact by design.

Exchanged: each film gets the cuts of another film that has as many shots. Whatever maps look like, if they know
nothing of the cuts then every such arrangement was equally likely, and what maps have in common cancels.
Moved: a plan against all plans with as many shots whose shortest shot is as short. Any draw that gives each plan with
no shot under some length the same chance gives each of these the same chance. Equal shots have only equal ones there.
"""

from __future__ import annotations

from itertools import combinations
from math import comb, factorial, prod
from typing import NamedTuple

import numpy as np

from attnscope._types import Floats
from attnscope.structure.arrays.adjustment import find_measurable
from attnscope.structure.arrays.pair_means import Ints

# More plans than this are sampled, and p is then that of a random sample, which is exact too.
_MOST_PLANS = 2000


FEWEST_ARRANGEMENTS = 20
"""With fewer arrangements of the cuts p could not reach .05, and is not given."""

FEWEST_FILMS = 4
"""As many films with different cuts have 24 arrangements, enough for a p."""


class Null(NamedTuple):
    """What cuts are compared with: how ("exchanged", "moved", "none"), how many arrangements, why there is no p."""

    kind: str
    num_arrangements: int
    reason: str


def choose_null(plans: Ints) -> Null:
    """Choose between exchanging cuts, moving them, and no p at all."""
    if len(plans) == 0:
        return Null("none", 0, "no film has cuts that can be measured")
    groups = plans.max(axis=1)
    exchanged = num_exchanges(plans, groups)
    if exchanged >= FEWEST_ARRANGEMENTS:
        return Null("exchanged", exchanged, "")
    different = np.unique(plans, axis=0)
    moved = prod(len(moves(plan, 0)) for plan in different)
    needed = f"{FEWEST_FILMS} films with different cuts are needed"
    if len(different) > 1 and len(plans) >= FEWEST_FILMS:
        return Null("none", exchanged, f"these films' cuts have only {exchanged} arrangements; {needed}")
    if moved >= FEWEST_ARRANGEMENTS:
        return Null("moved", moved, "")
    films = "one film" if len(plans) == 1 else f"{len(plans)} films"
    if len(different) == 1:
        alike = "its cuts" if len(plans) == 1 else "the cuts that all of them have"
        return Null("none", moved, f"{films}: only {moved} plans are as likely as {alike}; {needed}")
    return Null("none", moved, f"{films}: their cuts have only {moved} places as likely; {needed}")


def num_exchanges(plans: Ints, groups: Ints) -> int:
    """Count the different ways to hand plans `(P, F)` round within groups of films `(P,)`."""
    ways = 1
    for group in np.unique(groups):
        alike = np.unique(plans[groups == group], axis=0, return_counts=True)[1]
        ways *= factorial(int(alike.sum())) // prod(factorial(int(num)) for num in alike)
    return ways


def exchanges(plans: Ints, num_draws: int, seed: int) -> Ints:
    """Hand plans `(P, F)` round within groups of films with as many shots: `(arrangements, P)` numbers of plans.

    Numbers are those of `np.unique(plans, axis=0)`; the first row is what each film has. All different arrangements, or
    a sample, as `whole_twentieths` says; where there are more than `num_draws`, so many by lot.
    """
    groups = plans.max(axis=1)
    own = np.unique(plans, axis=0, return_inverse=True)[1].reshape(-1)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    if num_exchanges(plans, groups) <= num_draws:
        chosen = own[None, :]
        for each in members:
            orders = _different_orders(own[each])
            chosen = np.repeat(chosen, len(orders), axis=0)
            chosen[:, each] = np.tile(orders, (len(chosen) // len(orders), 1))
        others = chosen[(chosen != own).any(axis=1)]
        return np.concatenate([own[None, :], whole_twentieths(others, seed)])
    generator = np.random.default_rng(seed)
    chosen = np.tile(own, (1 + num_draws, 1))
    for each in members:
        order = np.argsort(generator.random((num_draws, len(each))), axis=1)
        chosen[1:, each] = own[each][order]
    return chosen


def _different_orders(numbers: Ints) -> Ints:
    """All orders of these numbers `(P,)` that can be told from each other: `(orders, P)`."""
    orders = np.full((1, len(numbers)), -1, dtype=np.intp)
    for value, count in zip(*np.unique(numbers, return_counts=True), strict=True):
        num_free = int((orders[0] < 0).sum())
        chosen = np.array(list(combinations(range(num_free), int(count))), dtype=np.intp)
        free = np.argsort(orders >= 0, axis=1, kind="stable")[:, :num_free]
        places = free[:, chosen].reshape(-1, count)
        orders = np.repeat(orders, len(chosen), axis=0)
        np.put_along_axis(orders, places, value, axis=1)
    return orders


def num_tried(num_arrangements: int, num_draws: int) -> int:
    """How many of all arrangements p is a share of."""
    if num_arrangements > num_draws:
        return 1 + num_draws
    return max(1, num_arrangements // FEWEST_ARRANGEMENTS * FEWEST_ARRANGEMENTS)


def whole_twentieths(others: Ints, seed: int) -> Ints:
    """Keep so many other arrangements, by lot, that with the true one there are 20, 40, 60, ...

    p <= .05 then comes in one of twenty where there is nothing; of 38 arrangements one alone is under .05, one of
    thirty-eight. A set by lot, drawn without looking at the maps, is as exact as all (Hemerik and Goeman, TEST 2018).
    """
    wanted = (1 + len(others)) // FEWEST_ARRANGEMENTS * FEWEST_ARRANGEMENTS - 1
    if wanted < 1:
        return others
    return others[np.sort(np.random.default_rng(seed).permutation(len(others))[:wanted])]


def exchange_p(matrix: Floats, chosen: Ints) -> tuple[Floats, Floats]:
    """Test the first of arrangements `(A, P)` by maps' fits `(..., P, plans)`: p and the mean of all, each `(...)`.

    p is the share of the arrangements, the films' own among them, that do as well as it.
    """
    num_arrangements, num = chosen.shape
    lead = matrix.shape[:-2]
    own = matrix[..., np.arange(num), chosen[0]].mean(axis=-1)
    as_good, total = np.zeros(lead), np.zeros(lead)
    num_parts = max(1, num_arrangements * max(1, own.size) * num // 20_000_000)
    for part in np.array_split(chosen, num_parts):
        drawn = matrix[..., np.arange(num), part].mean(axis=-1)
        as_good += (drawn >= own[..., None] - 1e-12).sum(axis=-1)
        total += drawn.sum(axis=-1)
    return as_good / num_arrangements, total / num_arrangements


def moves(shot: Ints, seed: int) -> Ints:
    """Give the plans as likely as this one `(F,)`, it first: `(S, F)`; a random sample where there are very many.

    As many shots, the shortest as short, and such that a map can tell them (`adjustment.find_measurable`).
    """
    num_frames, num_shots, shortest = len(shot), len(np.unique(shot)), int(np.bincount(shot).min())
    slack = num_frames - num_shots * shortest
    if comb(slack + num_shots - 1, num_shots - 1) <= _MOST_PLANS:
        bars = np.array(list(combinations(range(slack + num_shots - 1), num_shots - 1)), dtype=np.intp)
        lengths = _lengths(bars, slack, num_shots, shortest)
    else:
        lengths = _sample_lengths(num_frames, num_shots, shortest, seed)
    starts = np.cumsum(lengths, axis=1)[:, :-1]
    plans = (np.arange(num_frames)[None, :, None] >= starts[:, None, :]).sum(axis=-1)
    others = plans[(plans != shot).any(axis=1)]
    return np.concatenate([shot[None, :], others[find_measurable(others)]])


def _lengths(bars: Ints, slack: int, num_shots: int, shortest: int) -> Ints:
    """Stars and bars: where the bars stand says how the slack is shared out; keep those with a shot of the least."""
    ends = np.full((len(bars), 1), slack + num_shots - 1)
    edges = np.concatenate([np.full((len(bars), 1), -1), bars, ends], axis=1)
    lengths = np.diff(edges, axis=1) - 1 + shortest
    return np.asarray(lengths[lengths.min(axis=1) == shortest])


def _sample_lengths(num_frames: int, num_shots: int, shortest: int, seed: int) -> Ints:
    generator = np.random.default_rng(seed)
    slack, kept = num_frames - num_shots * shortest, np.zeros((0, num_shots), dtype=np.intp)
    while len(kept) < _MOST_PLANS:
        places = generator.random((_MOST_PLANS, slack + num_shots - 1)).argsort(axis=1)[:, : num_shots - 1]
        kept = np.concatenate([kept, _lengths(np.sort(places, axis=1), slack, num_shots, shortest)])
    return kept[:_MOST_PLANS]


def move_p(tables: list[Floats], *, num_draws: int, seed: int) -> tuple[Floats, Floats]:
    """Test the sum of the first entries of tables `(..., S)`, one for each plan that moves by itself.

    It is compared with the sums of one entry of each table: all of them (`whole_twentieths`), or `num_draws` by lot.
    """
    sizes = tuple(table.shape[-1] for table in tables)
    if prod(sizes) <= num_draws:
        others = whole_twentieths(np.arange(1, prod(sizes)), seed)
    else:
        others = np.random.default_rng(seed).integers(prod(sizes), size=num_draws)
    places = np.unravel_index(np.concatenate([[0], others]), sizes)
    every = np.sum([table[..., place] for table, place in zip(tables, places, strict=True)], axis=0)
    return (every >= every[..., :1] - 1e-12).mean(axis=-1), every.mean(axis=-1)
