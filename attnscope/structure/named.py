"""Statistics by their names: what each one is in words, how it is averaged, and what it is without structure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import xarray as xr

from attnscope.errors import InputError, suggest
from attnscope.structure.adjusting import adjusted_contrast, adjusted_r
from attnscope.structure.contrasts import (
    contrast,
    distance_only_contrast,
    first_frame_sink,
    lag_matched_contrast,
    own_shot_mass,
)
from attnscope.structure.correlations import correlation
from attnscope.structure.intervals import Scale


@dataclass(frozen=True)
class Statistic:
    """A statistic of a frame map that gives one number for each map.

    `neutral` is what it is where attention has no structure; None where that depends on the film. Ratios have the
    scale "log": they are averaged, and compared, as logarithms.
    """

    name: str
    label: str
    neutral: float | None
    scale: Scale
    measure: Callable[..., xr.DataArray]


STATISTICS: Mapping[str, Statistic] = {
    each.name: each
    for each in (
        Statistic("adjusted_r", "adjusted r", 0.0, "linear", adjusted_r),
        Statistic("adjusted_contrast", "adjusted contrast", 1.0, "log", adjusted_contrast),
        Statistic("contrast", "contrast, with distance in it", 1.0, "log", contrast),
        Statistic("distance_only_contrast", "contrast by distance alone", 1.0, "log", distance_only_contrast),
        Statistic("lag_matched_contrast", "contrast at equal distance", 1.0, "log", lag_matched_contrast),
        Statistic("own_shot_mass", "share that stays in the shot", None, "linear", own_shot_mass),
        Statistic("correlation", "raw r, with distance in it", 0.0, "linear", correlation),
        Statistic("first_frame_sink", "pull of the first frame", 1.0, "log", first_frame_sink),
    )
}


def find_statistic(name: str, where: str) -> Statistic:
    """Look a statistic up by its name.

    Raises
    ------
    InputError
        There is none of that name.

    Examples
    --------
    >>> find_statistic("contrast", "in a doctest").scale
    'log'
    """
    if name not in STATISTICS:
        raise InputError(
            expected=f"a statistic out of {', '.join(STATISTICS)}",
            got=f"{name!r}",
            where=where,
            remedy=suggest(name, STATISTICS, "name one of those"),
        )
    return STATISTICS[name]
