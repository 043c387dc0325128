"""What a statistic would be if other films, or other places, had the cuts: two nulls that are exact by design.

Exchanged: each film gets the cuts of another film that has as many shots. Whatever maps look like, if they know
nothing of the cuts then every such arrangement was equally likely, and what maps have in common cancels.
Moved: a plan against all plans with as many shots whose shortest shot is as short. Any draw that gives each plan with
no shot under some length the same chance gives each of these the same chance. Equal shots have only equal ones there.
"""

from __future__ import annotations

from itertools import combinations
from math import comb, factorial, prod

import numpy as np

from attnscope._types import Floats
from attnscope.structure.arrays.pair_means import Ints

# More plans than this are sampled, and p is then that of a random sample, which is exact too.
_MOST_PLANS = 2000


def num_exchanges(plans: Ints, groups: Ints) -> int:
    """Count the different ways to hand plans `(P, F)` round within groups of films `(P,)`."""
    ways = 1
    for group in np.unique(groups):
        alike = np.unique(plans[groups == group], axis=0, return_counts=True)[1]
        ways *= factorial(int(alike.sum())) // prod(factorial(int(num)) for num in alike)
    return ways


def exchanges(groups: Ints, num_draws: int, seed: int) -> Ints:
    """Draw who gets whose plan: `(num_draws, P)`, permutations within groups `(P,)`."""
    generator = np.random.default_rng(seed)
    chosen = np.tile(np.arange(len(groups)), (num_draws, 1))
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        order = np.argsort(generator.random((num_draws, len(members))), axis=1)
        chosen[:, members] = members[order]
    return chosen


def exchange_p(matrix: Floats, chosen: Ints) -> tuple[Floats, Floats]:
    """Test the mean of the diagonal of `(..., P, P)`, map by plan: p and the mean under exchange, each `(...)`.

    A draw that does as well counts against the films' own plans, and these count as one draw more.
    """
    num_draws, num = chosen.shape
    own = np.trace(matrix, axis1=-2, axis2=-1) / num
    films = np.arange(num)
    lead = matrix.shape[:-2]
    as_good, total = np.zeros(lead), np.zeros(lead)
    for part in np.array_split(chosen, max(1, num_draws * max(1, own.size) * num // 20_000_000)):
        drawn = matrix[..., films, part].mean(axis=-1)
        as_good += (drawn >= own[..., None] - 1e-12).sum(axis=-1)
        total += drawn.sum(axis=-1)
    return (1 + as_good) / (1 + num_draws), total / num_draws


def num_moves(shot: Ints) -> int:
    """Count the plans as likely as this one `(F,)`: as many shots, the shortest as short."""
    num_shots, shortest = len(np.unique(shot)), int(np.bincount(shot).min())
    slack = len(shot) - num_shots * shortest
    longer = slack - num_shots
    every = comb(slack + num_shots - 1, num_shots - 1)
    return every - (comb(longer + num_shots - 1, num_shots - 1) if longer >= 0 else 0)


def moves(shot: Ints, seed: int) -> Ints:
    """Give those plans, the one given first: `(S, F)` shot indices; a random sample where there are very many."""
    num_frames, num_shots, shortest = len(shot), len(np.unique(shot)), int(np.bincount(shot).min())
    if num_moves(shot) <= _MOST_PLANS:
        slack = num_frames - num_shots * shortest
        bars = np.array(list(combinations(range(slack + num_shots - 1), num_shots - 1)), dtype=np.intp)
        lengths = _lengths(bars, slack, num_shots, shortest)
    else:
        lengths = _sampled_lengths(num_frames, num_shots, shortest, seed)
    starts = np.cumsum(lengths, axis=1)[:, :-1]
    plans = (np.arange(num_frames)[None, :, None] >= starts[:, None, :]).sum(axis=-1)
    others = plans[(plans != shot).any(axis=1)]
    return np.concatenate([shot[None, :], others])


def _lengths(bars: Ints, slack: int, num_shots: int, shortest: int) -> Ints:
    """Stars and bars: where the bars stand says how the slack is shared out; keep those with a shot of the least."""
    ends = np.full((len(bars), 1), slack + num_shots - 1)
    edges = np.concatenate([np.full((len(bars), 1), -1), bars, ends], axis=1)
    lengths = np.diff(edges, axis=1) - 1 + shortest
    return np.asarray(lengths[lengths.min(axis=1) == shortest])


def _sampled_lengths(num_frames: int, num_shots: int, shortest: int, seed: int) -> Ints:
    generator = np.random.default_rng(seed)
    slack, kept = num_frames - num_shots * shortest, np.zeros((0, num_shots), dtype=np.intp)
    while len(kept) < _MOST_PLANS:
        places = generator.random((_MOST_PLANS, slack + num_shots - 1)).argsort(axis=1)[:, : num_shots - 1]
        kept = np.concatenate([kept, _lengths(np.sort(places, axis=1), slack, num_shots, shortest)])
    return kept[:_MOST_PLANS]


def moved_p(tables: list[Floats], *, num_draws: int, seed: int) -> tuple[Floats, Floats]:
    """Test the sum of the first entries of tables `(..., S)`, one for each plan that moves by itself.

    One table is compared with all of its entries; for several, each takes one of its entries by lot.
    """
    own = np.sum([table[..., 0] for table in tables], axis=0)
    if len(tables) == 1:
        every = tables[0]
        return (every >= own[..., None] - 1e-12).mean(axis=-1), every.mean(axis=-1)
    generator = np.random.default_rng(seed)
    drawn = np.sum(
        [table[..., generator.integers(table.shape[-1], size=num_draws)] for table in tables], axis=0
    )
    as_good = (drawn >= own[..., None] - 1e-12).sum(axis=-1)
    return (1 + as_good) / (1 + num_draws), drawn.mean(axis=-1)
