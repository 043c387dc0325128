"""How sure a mean over few films is: Student's interval of values, Wilson's of shares; on plain arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from attnscope._types import Floats

FEWEST = 3
"""Below this many films there is no interval: nothing is known about their spread."""

ENOUGH = 5
"""From so many films on intervals hold as often as they say (docs/calibration.md); below they are made wider."""


def reach(num: npt.ArrayLike, level: float) -> Floats:
    """Give how many standard errors an interval reaches to either side: `(...)`, NaN below three films.

    Student's t with num - 1 degrees of freedom, and with one fewer below five films.
    """
    from scipy.special import stdtrit

    films = np.asarray(num, dtype=np.float64)
    freedom = np.where(films >= ENOUGH, films - 1, np.maximum(films - 2, 1.0))
    return np.where(films >= FEWEST, stdtrit(freedom, (1 + level) / 2), np.nan)


def student_interval(values: Floats, *, level: float) -> Floats:
    """Give the interval of the mean of the last axis: `(..., N)` -> `(..., 2)`; NaN values are left out."""
    present = ~np.isnan(values)
    num = present.sum(axis=-1)
    filled = np.where(present, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = filled.sum(axis=-1) / num
        squares = (np.where(present, values - mean[..., None], 0.0) ** 2).sum(axis=-1)
        width = reach(num, level) * np.sqrt(squares / ((num - 1) * num))
    return np.stack([mean - width, mean + width], axis=-1)


def share_interval(values: Floats, most_tries: Floats | float, *, level: float) -> Floats:
    """Give Wilson's interval of a mean of shares `(..., N)`, each in [0, 1]: `(..., 2)`, NaN below three shares.

    A share counts for as many independent tries as the shares vary: a share of cuts found in a film for one try where
    films are cut wholly or not at all, for as many as it has cuts, `most_tries` `(...)`, where cuts have nothing to do
    with each other. Where all shares are alike, for one.
    """
    from scipy.special import ndtri, stdtrit

    present = ~np.isnan(values)
    num = present.sum(axis=-1).astype(np.float64)
    filled = np.where(present, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = filled.sum(axis=-1) / num
        variance = (np.where(present, values - mean[..., None], 0.0) ** 2).sum(axis=-1) / (num - 1)
        tries = np.where(variance > 1e-12, mean * (1 - mean) * num / variance, num)
        tries = np.clip(tries, num, num * np.maximum(most_tries, 1.0))
    few = stdtrit(np.maximum(num - 1, 1), (1 + level) / 2)
    quantile = np.where(num < ENOUGH, few, ndtri((1 + level) / 2))
    return np.where((num >= FEWEST)[..., None], wilson(mean, tries, quantile), np.nan)


def pooled_share_interval(hits: Floats, tries: Floats, *, level: float) -> Floats:
    """Give Wilson's interval of all hits over all tries, which come in films: `(..., N)`, `(..., N)` -> `(..., 2)`.

    The tries of a film count for as many independent ones as the films vary, and never for fewer than if each film hit
    with all of its tries or with none; so they do where all films are alike. How much films vary is itself estimated,
    so it is Student's quantile, but where each of five films or more has one try. NaN below three films with a try.
    """
    from scipy.special import ndtri, stdtrit

    num, total = (tries > 0).sum(axis=-1), tries.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = hits.sum(axis=-1) / total
        fewest = total**2 / (tries**2).sum(axis=-1)
        squares = ((hits - share[..., None] * tries) ** 2).sum(axis=-1)
        variance = squares * num / (num - 1) / total**2
        independent = np.where(variance > 1e-12, share * (1 - share) / variance, fewest)
        independent = np.clip(independent, fewest, total)
    is_known = (fewest > total * (1 - 1e-12)) & (num >= ENOUGH)
    wider = stdtrit(np.maximum(num - 1, 1), (1 + level) / 2)
    quantile = np.where(is_known, ndtri((1 + level) / 2), wider)
    return np.where((num >= FEWEST)[..., None], wilson(share, independent, quantile), np.nan)


def wilson(share: Floats, tries: Floats, quantile: Floats | float) -> Floats:
    """Give Wilson's score interval of a share that was counted in so many tries: `(...)` -> `(..., 2)`."""
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = quantile**2 / tries
        centre = (share + spread / 2) / (1 + spread)
        width = quantile * np.sqrt(share * (1 - share) / tries + spread / (4 * tries)) / (1 + spread)
    # exactly 0 and 1 at the ends, where rounding would leave them a little inside
    low, high = np.where(share <= 0, 0.0, centre - width), np.where(share >= 1, 1.0, centre + width)
    return np.stack([low, high], axis=-1)
