"""One cell of the table: how often p rejects and intervals cover, over many repetitions at once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from films import Floats, Ints, Kind, draw_maps, plans_of

from attnscope import student
from attnscope.metrics import gap
from attnscope.structure.arrays import adjustment, pair_means, pearson, place_matched, rearranging

NUM_DRAWS = 199
LENGTH_OF_THE_OTHERS = 13
"""Latent frames at which those statistics are looked at, too, that are printed without an interval."""

FEWEST_COUNTED = 5
"""From so many films on, intervals should hold in 95 of 100."""

_MOST_ENTRIES = 3_000_000  # of maps in memory at once


def batches(num_repeats: int, num_films: int, num_frames: int) -> Iterator[int]:
    """Cut the repetitions into parts that fit in memory."""
    size = max(1, min(250, _MOST_ENTRIES // (num_films * num_frames**2)))
    for start in range(0, num_repeats, size):
        yield min(size, num_repeats - start)


def p_values(r: Floats, plans: Ints, chosen: Ints, seed: int) -> Floats:
    """Test every repetition as `cut_test` does: r of each film against all plans `(R, P, S)`, plans by number `(R, P)`.

    NaN where no p is given. The plans stand in the order of `np.unique`.
    """
    table = np.nan_to_num(r)
    found = np.full(len(chosen), np.nan)
    informative = adjustment.find_measurable(plans)
    for row, numbers in enumerate(chosen):
        films = np.flatnonzero(informative[numbers])
        kept = plans[numbers[films]]
        null = rearranging.choose_null(kept)
        if null.kind == "exchanged":
            draws = rearranging.exchanges(kept, NUM_DRAWS, seed + row)
            matrix = table[row][films][:, np.unique(numbers[films])]
            found[row] = rearranging.exchange_p(matrix, draws)[0]
        elif null.kind == "moved":
            found[row] = _moved(table[row], plans, numbers, films, seed + row)
    return found


def _moved(table: Floats, plans: Ints, numbers: Ints, films: Ints, seed: int) -> float:
    number_of = {tuple(plan): number for number, plan in enumerate(plans)}
    tables = []
    for number in np.unique(numbers[films]):
        places = [number_of[tuple(plan)] for plan in rearranging.moves(plans[number], seed)]
        tables.append(table[films[numbers[films] == number]][:, places].sum(axis=0))
    return float(rearranging.move_p(tables, num_draws=NUM_DRAWS, seed=seed)[0])


def synthetic_cell(
    kind: Kind, num_frames: int, num_films: int, *, contrast: float, sink: str, num_repeats: int, seed: int
) -> dict[str, Any]:
    """Repeat a study of `num_films` synthetic films: p, and whether each interval holds what is true.

    A plan that cannot be measured leaves its film out; a study of five films and more that keeps fewer than five is not
    counted among those of its number.
    """
    plans, generator = plans_of(kind, num_frames), np.random.default_rng(seed)
    truth = _true_means(kind, num_frames, contrast, sink) if num_frames == LENGTH_OF_THE_OTHERS else {}
    ps, covered = [], []
    for size in batches(num_repeats, num_films, num_frames):
        chosen = generator.integers(len(plans), size=(size, num_films))
        maps = draw_maps(generator, plans[chosen], contrast=contrast, sink=sink)
        fitted = adjustment.fit_plans(maps, plans)
        ps.append(p_values(fitted.r, plans, chosen, seed))
        if num_films >= 3:
            own = [np.take_along_axis(each, chosen[..., None], axis=2)[..., 0] for each in fitted[:2]]
            enough = np.isfinite(own[0]).sum(axis=1) >= min(num_films, FEWEST_COUNTED)
            cover = _cover(maps, plans[chosen], own, contrast, truth)
            covered.append({name: np.where(enough, held, np.nan) for name, held in cover.items()})
    return {"p": _shares(np.concatenate(ps)), "coverage": _coverage(covered)}


@cache
def _true_means(kind: Kind, num_frames: int, contrast: float, sink: str) -> dict[str, float]:
    """Means of the statistics that have no closed form, from twenty thousand films."""
    plans, generator = plans_of(kind, num_frames), np.random.default_rng(0)
    shots = plans[generator.integers(len(plans), size=20_000)]
    parts = []
    for part in np.array_split(shots, 20):
        maps = draw_maps(generator, part, contrast=contrast, sink=sink)
        parts.append({"adjusted r": adjustment.fit(maps, part).r, **statistics(maps, part)})
    return {name: float(np.nanmean(np.concatenate([part[name] for part in parts]))) for name in parts[0]}


def statistics(maps: Floats, shots: Ints) -> dict[str, Floats]:
    """What else is printed with an interval, on the scale of its interval: `(..., F, F)` -> `(...)`."""
    with np.errstate(divide="ignore"):
        logs = np.log(pair_means.contrast(maps, shots))
    return {
        "contrast": logs,
        "r": pearson.correlation(maps, shots),
        "r, distance removed": pearson.correlation(maps, shots, distance_removed=True),
    }


def _cover(
    maps: Floats, shots: Ints, own: list[Floats], contrast: float, truth: dict[str, float]
) -> dict[str, Floats]:
    """Say of each repetition whether the intervals hold what is true: 1, 0, NaN where there is none."""
    known = {**truth, "adjusted contrast": float(np.log(contrast))}
    values = {"adjusted contrast": own[0]}
    if truth:
        values |= {"adjusted r": own[1], **statistics(maps, shots)}
    ends = {name: student.student_interval(each, level=0.95) for name, each in values.items()}
    _, low, high, _ = place_matched.measure_films(maps, shots)
    ends["place-matched contrast"] = np.log(np.stack([low, high], axis=-1))
    known["place-matched contrast"] = known["adjusted contrast"]
    return {name: inside(interval, known[name]) for name, interval in ends.items()}


def inside(ends: Floats, value: float) -> Floats:
    """1 where the interval `(..., 2)` holds the value, 0 where not, NaN where there is none."""
    holds = (ends[..., 0] <= value) & (value <= ends[..., 1])
    return np.where(np.isnan(ends).any(axis=-1), np.nan, holds)


def _shares(ps: Floats) -> dict[str, float | None]:
    given = np.isfinite(ps)
    return {
        "given": float(given.mean()),
        "rejected": float((ps[given] <= 0.05 + 1e-9).mean()) if given.any() else None,
        "repeats": int(given.sum()),
    }


def _coverage(covered: list[dict[str, Floats]]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name in covered[0] if covered else ():
        values = np.concatenate([part[name] for part in covered])
        values = values[np.isfinite(values)]
        found[name] = float(values.mean()) if len(values) >= 200 else None
    return found


def share_cell(
    num_films: int, *, num_cuts: int, together: float, num_repeats: int, seed: int
) -> dict[str, float]:
    """Repeat a sweep of films: how often the interval of recall, and of its gain over no mask, holds what is true.

    A share `together` of films has all of its cuts found or none; in the others each cut is found by itself.
    """
    generator, found = np.random.default_rng(seed), {}
    for share in (0.2, 0.5, 0.8, 0.95):
        one = generator.random((num_repeats, num_films, 1)) < share
        each = generator.random((num_repeats, num_films, num_cuts)) < share
        alike = generator.random((num_repeats, num_films, 1)) < together
        recall = np.where(alike, one, each).mean(axis=-1)
        base = (generator.random((num_repeats, num_films, num_cuts)) < 0.1).mean(axis=-1)
        ends = student.share_interval(recall, np.float64(num_cuts), level=0.95)
        halves = student.share_interval((1 + recall - base) / 2, np.float64(4 * num_cuts), level=0.95)
        found[f"{share:g}"] = float(inside(ends, share).mean())
        found[f"gain {share:g}"] = float(inside(2 * halves - 1, share - 0.1).mean())
    return found


NUMBERS_OF_CUTS = {"1 to 2": (1, 2), "1 to 3": (1, 2, 3), "1, 2, 3 or 7": (1, 2, 3, 7)}


def pooled_cell(
    num_films: int, numbers_of_cuts: str, *, together: bool, num_repeats: int, seed: int
) -> dict[str, float]:
    """Repeat films of several lengths: how often the interval of the share of all their cuts holds what is true.

    The cuts of a film are found together, or each by itself.
    """
    generator, found = np.random.default_rng(seed), {}
    for share in (0.2, 0.5, 0.8, 0.95):
        tries = generator.choice(NUMBERS_OF_CUTS[numbers_of_cuts], (num_repeats, num_films)).astype(float)
        whole = tries * (generator.random(tries.shape) < share)
        hits = whole if together else generator.binomial(tries.astype(int), share)
        ends = student.pooled_share_interval(hits.astype(float), tries, level=0.95)
        found[f"{share:g}"] = float(inside(ends, share).mean())
    return found


GAPS = {"alike": (0.0, 1.0), "near": (0.5, 1.0), "far": (2.0, 1.0), "wider": (0.0, 2.0)}
"""How far the videos' mean is below the reference's, in its standard deviations, and their deviation in the same."""


def gap_cell(
    what: str, num_videos: int, num_reference: int, *, num_repeats: int, seed: int
) -> dict[str, float]:
    """Compare two samples of cosines many times: how often p <= .05, how often the interval of the gap holds.

    What it should hold is the distance of the distributions, both smoothed with the mean width of such samples.
    """
    shift, scale = GAPS[what]
    generator = np.random.default_rng(seed)

    def draw(number: int, shift: float, scale: float) -> Floats:
        return np.asarray(np.tanh(generator.normal(0.8 - 0.3 * shift, 0.3 * scale, number)))

    widths, alarms, ends = [], 0, []
    for repeat in range(num_repeats):
        values, reference = draw(num_videos, shift, scale), draw(num_reference, 0.0, 1.0)
        widths.append(gap.smoothing_width(values, reference))
        found = gap.consistency_gap(values, reference, num_draws=199, seed=repeat)
        alarms += found.p <= 0.05
        ends.append((found.low, found.high))
    many = draw(200_000, shift, scale), draw(200_000, 0.0, 1.0)
    truth = gap.smoothed_distance(*many, float(np.mean(widths))) if what != "alike" else 0.0
    return {"rejected": alarms / num_repeats, "holds": float(inside(np.array(ends), truth).mean())}


def real_cell(maps: Floats, kind: Kind, num_films: int, *, num_repeats: int, seed: int) -> dict[str, Any]:
    """Films of one shot against imaginary cuts, every head: maps `(films, heads, F, F)`.

    p and the place-matched interval should find nothing; the adjusted contrast is asked for 1 too, which it is not
    where locality differs from place to place.
    """
    plans, generator = plans_of(kind, maps.shape[-1]), np.random.default_rng(seed)
    ps, matched, adjusted, own = [], [], [], []
    fitted = adjustment.fit_plans(maps, plans)  # (films, heads, plans)
    centre = np.nanmean(fitted.log_contrast, axis=(0, 2))
    for repeat in range(num_repeats):
        films = generator.choice(len(maps), size=num_films, replace=False)
        numbers = generator.integers(len(plans), size=num_films)
        r = np.moveaxis(fitted.r[films], 1, 0)  # (heads, films, plans)
        ps.append(p_values(r, plans, np.tile(numbers, (len(r), 1)), seed + repeat))
        beta = fitted.log_contrast[films, :, numbers].T
        ends = student.student_interval(beta, level=0.95)
        adjusted.append(inside(ends, 0.0))
        own.append((ends[..., 0] <= centre) & (centre <= ends[..., 1]))
        _, low, high, _ = place_matched.measure_films(np.moveaxis(maps[films], 0, 1), plans[numbers])
        matched.append(inside(np.log(np.stack([low, high], axis=-1)), 0.0))
    coverage = {
        "adjusted contrast, its own mean": own,
        "adjusted contrast, 1": adjusted,
        "place-matched contrast": matched,
    }
    return {
        "p": _shares(np.concatenate(ps)),
        "coverage": {
            name: (float(np.nanmean(values)) if np.isfinite(np.array(values, float)).any() else None)
            for name, values in coverage.items()
        },
    }
