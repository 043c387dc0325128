"""How far the likeness of a model's shots is from that of edited film: as a distance between distributions.

A distance between two samples is never 0, also where both come from the same distribution; with few videos most of a
gap is that. So every gap stands beside its null level, the distance that samples of this size have by chance.

Legend: values are cosines, one for each video, in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from attnscope._types import Floats
from attnscope.errors import InputError

Method = Literal["kde", "histogram"]

FEWEST_VIDEOS = 20
NUM_BINS = 20
_GRID = 512
_REACH = 4.0  # bandwidths beyond the data at which the grid ends
_EDGE = 1e-6  # a cosine of exactly 1 has no finite z


@dataclass(frozen=True)
class Gap:
    """A distance to a reference, and what is needed to judge it.

    ``distance`` is the Jensen-Shannon distance (root, base 2: 0 to 1); ``low`` and ``high`` its interval over
    videos of both sides; ``p`` how often two samples of these sizes from one place are as far apart, ``null_mean`` and
    ``null_high`` the mean and the 95th percentile of that. A distance below ``null_high`` says nothing. ``wasserstein``
    is in units of the cosine.
    """

    distance: float
    low: float
    high: float
    p: float
    null_mean: float
    null_high: float
    wasserstein: float
    num_videos: int
    num_reference: int
    method: Method


def js_distance(
    values: Sequence[float] | Floats, reference: Sequence[float] | Floats, *, method: Method = "kde"
) -> float:
    """Give the Jensen-Shannon distance between two samples of cosines: 0 the same, 1 without overlap.

    ``"kde"`` smooths both samples with one Gaussian on Fisher's z of the cosine, the wider of their two
    normal-reference widths, and compares on 512 points: a small sample is blurred more than a large one, and with a
    width for each that alone would be a distance; ``"histogram"`` counts in 20 equal bins on [0, 1] (negative cosines
    in the first), for auditing.
    The square root of the divergence in base 2. No minimum of videos is asked for here; :func:`consistency_gap` does.

    Raises
    ------
    InputError
        Fewer than 2 values, values that are no cosines, no such method.

    Examples
    --------
    >>> js_distance([0.1, 0.11, 0.12], [0.8, 0.81, 0.82])
    1.0
    """
    sample, other = _cosines(values), _cosines(reference)
    return _distance_to(other, method)(sample)


def consistency_gap(
    values: Sequence[float] | Floats,
    reference: Sequence[float] | Floats,
    *,
    method: Method = "kde",
    num_draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Gap:
    """Measure how far the videos of a model are from the reference, beside what chance alone would give.

    One value a video. The null level deals all values of both sides out anew, as many to each side as it has: how far
    apart two samples of these sizes are that come from one place, the reference's own luck included. ``p`` is the share
    of deals at least as far apart as the two are. The interval is that of the distance between the two distributions,
    smoothed as samples of these sizes are (docs/calibration.md says how often it holds); it begins at 0 where p is
    above .05.

    Raises
    ------
    InputError
        Fewer than 20 videos on one of the sides: the distance would be chance.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> film = rng.normal(0.6, 0.1, 300)
    >>> alike, other = consistency_gap(film[:50], film), consistency_gap(film[:50] - 0.3, film)
    >>> alike.distance < alike.null_high, other.distance > other.null_high
    (True, True)
    """
    from scipy.stats import wasserstein_distance

    sample, other = _cosines(values), _cosines(reference)
    for name, each in (("the videos", sample), ("the reference", other)):
        if len(each) < FEWEST_VIDEOS:
            raise InputError(
                expected=f"at least {FEWEST_VIDEOS} videos for a gap",
                got=f"{len(each)}",
                where=f"in {name}",
                remedy="with fewer the distance is mostly chance, score more videos",
            )
    rng = np.random.default_rng(seed)
    distance = js_distance(sample, other, method=method)
    drawn, null = np.empty(num_draws), np.empty(num_draws)
    pooled = np.concatenate([sample, other])
    for draw in range(num_draws):
        drawn[draw] = _distance_to(rng.choice(other, len(other)), method)(rng.choice(sample, len(sample)))
        dealt = rng.permutation(pooled)
        null[draw] = _distance_to(dealt[len(sample) :], method)(dealt[: len(sample)])
    p = float((1 + (null >= distance - 1e-12).sum()) / (1 + num_draws))
    low, high = _interval(distance, drawn, level, fewest=min(len(sample), len(other)))
    return Gap(
        distance=distance,
        low=low if p <= 1 - level else 0.0,
        high=high,
        p=p,
        null_mean=float(null.mean()),
        null_high=float(np.percentile(null, 95)),
        wasserstein=float(wasserstein_distance(sample, other)),
        num_videos=len(sample),
        num_reference=len(other),
        method=method,
    )


def _interval(distance: float, drawn: Floats, level: float, *, fewest: int) -> tuple[float, float]:
    """Give the interval of a distance from those of samples that were drawn again.

    Two samples are further apart than what they are from, and their resamples further still. Student's interval round
    the distance less that excess holds for large samples and misses to one side with small ones, where the percentiles
    miss to the other: this one reaches from the lower end of both to the higher.
    """
    from scipy.stats import t

    tail = (1 - level) / 2
    percentiles = np.quantile(drawn, [tail, 1 - tail])
    centre, reach = 2 * distance - drawn.mean(), t.ppf(1 - tail, fewest - 1) * drawn.std(ddof=1)
    low, high = min(percentiles[0], centre - reach), max(percentiles[1], centre + reach)
    return float(max(low, 0.0)), float(min(high, 1.0))


def _cosines(values: Sequence[float] | Floats) -> Floats:
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or len(array) < 2 or not (np.abs(array) <= 1 + 1e-6).all():
        raise InputError(
            expected="at least 2 cosines from -1 to 1, one a video",
            got=f"{array.size} values of shape {array.shape}",
            where="in a gap",
            remedy="leave out videos of one shot",
        )
    return array


def _distance_to(reference: Floats, method: Method) -> Callable[[Floats], float]:
    from scipy.spatial.distance import jensenshannon

    if method == "histogram":
        edges = np.linspace(0, 1, NUM_BINS + 1)
        counts = np.histogram(np.clip(reference, 0, 1), edges)[0]
        return lambda sample: float(
            jensenshannon(np.histogram(np.clip(sample, 0, 1), edges)[0], counts, base=2)
        )
    if method != "kde":
        raise InputError(
            expected="method kde or histogram",
            got=f"{method!r}",
            where="in a gap",
            remedy="use kde",
        )
    return lambda sample: smoothed_distance(sample, reference, smoothing_width(sample, reference))


def smoothing_width(sample: Floats, reference: Floats) -> float:
    """Give the width with which two samples of cosines are smoothed, in Fisher's z: the wider of their own."""
    return max(_bandwidth(_fisher(sample)), _bandwidth(_fisher(reference)))


def smoothed_distance(sample: Floats, reference: Floats, width: float) -> float:
    """Give the Jensen-Shannon distance of two samples of cosines that are smoothed with this width of Fisher's z."""
    from scipy.spatial.distance import jensenshannon

    own, z = _fisher(sample), _fisher(reference)
    reach = _REACH * width
    grid = np.linspace(min(z.min(), own.min()) - reach, max(z.max(), own.max()) + reach, _GRID)
    return float(jensenshannon(_density(own, width, grid), _density(z, width, grid), base=2))


def _fisher(values: Floats) -> Floats:
    return np.asarray(np.arctanh(np.clip(values, -1 + _EDGE, 1 - _EDGE)))


def _bandwidth(z: Floats) -> float:
    """The normal-reference rule; a sample that does not vary still gets a width."""
    return float(max(1.06 * z.std(ddof=1) * len(z) ** -0.2, 1e-3))


def _density(z: Floats, width: float, grid: Floats) -> Floats:
    """Spread each value over its neighbours on the grid, then smooth: as exact as the grid, and quick for thousands."""
    step = grid[1] - grid[0]
    place = (z - grid[0]) / step
    left = np.clip(place.astype(int), 0, len(grid) - 2)
    share = place - left
    mass = np.bincount(left, 1 - share, len(grid)) + np.bincount(left + 1, share, len(grid))
    reach = int(np.ceil(_REACH * width / step))
    offsets = np.arange(-reach, reach + 1) * step
    kernel = np.exp(-0.5 * (offsets / width) ** 2)
    return np.asarray(np.convolve(mass, kernel / kernel.sum())[reach : reach + len(grid)])
