"""What the experiments that make films measure, and how sure they are of it: cuts in place, likeness, shares, means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr

import attnscope as scope
from attnscope.errors import SetupError
from attnscope.intervening.cut_check import CutCheck
from attnscope.metrics import between_shots, find_encoder
from attnscope.structure import interval, pooled_share_interval

Row = dict[str, Any]


def compare_cuts(cuts: CutCheck) -> Row:
    """Cuts that were found beside those that were asked for."""
    return {
        "asked_frame": list(cuts.asked_frame),
        "found_frame": list(cuts.found_frame),
        "matched": cuts.num_matched,
    }


def likeness(film: scope.Film, *, settled_frames: int, places: int) -> float:
    """How alike neighbouring shots are, at the cuts that were asked for, whether they are there or not."""
    encoder = find_encoder("visual")
    if not hasattr(encoder, "encode"):
        raise SetupError(
            expected="the visual encoder", got=encoder.reason, where="to compare shots", remedy="install it"
        )
    shots = []
    for start, stop in pairwise((0, *film.cuts.asked_frame, len(film.frames))):
        first = min(start + settled_frames, stop - 1) if start else 0
        shots.append(encoder.encode(film.frames[np.unique(np.linspace(first, stop - 1, places).astype(int))]))
    return float(between_shots(shots)["adjacent"])


def by_condition(rows: Sequence[Row], summarise: Callable[[list[Row]], Row]) -> list[Row]:
    """One row a condition, in the order in which they came."""
    names = dict.fromkeys(row["condition"] for row in rows)
    of = {name: [row for row in rows if row["condition"] == name] for name in names}
    return [{"condition": name, "films": len(mine), **summarise(mine)} for name, mine in of.items()]


def recall_and_precision(rows: Sequence[Row]) -> Row:
    """Shares of the cuts asked for that are there, and of those there that were asked for; each cut is a try."""
    matched, asked, found = (
        [count(row) for row in rows]
        for count in (
            lambda row: row.get("matched", 0),
            lambda row: len(row.get("asked_frame", ())),
            lambda row: len(row.get("found_frame", ())),
        )
    )
    return {"recall": share(rows, matched, asked), "precision": share(rows, matched, found)}


def share(rows: Sequence[Row], hits: Sequence[int], tries: Sequence[int]) -> Row | None:
    """A share of all tries, so many a row, with its 95 % interval; none where nothing was tried.

    What a caption has of them, over its films and seeds, goes together.
    """
    if not sum(tries):
        return None
    captions = list(dict.fromkeys(row["caption"] for row in rows))
    counts = np.zeros((2, len(captions)))
    for row, *numbers in zip(rows, hits, tries, strict=True):
        counts[:, captions.index(row["caption"])] += numbers
    ends = pooled_share_interval(*(xr.DataArray(each, dims="prompt") for each in counts))
    return {"value": sum(hits) / sum(tries), **ends_of(ends), "n": sum(tries)}


def mean(values: Sequence[float | None]) -> Row | None:
    """A mean over films with its 95 % interval (Student's); no ends below three films, as nothing is known of them."""
    films = xr.DataArray([value for value in values if value is not None], dims="prompt").astype(float)
    if not films.size:
        return None
    return {"value": float(films.mean()), **ends_of(interval(films)), "n": films.size}


def ends_of(ends: tuple[xr.DataArray, xr.DataArray]) -> Row:
    """The ends of an interval as JSON has them, null where they are unknown."""
    low, high = (None if bool(end.isnull()) else float(end) for end in ends)
    return {"low": low, "high": high}
