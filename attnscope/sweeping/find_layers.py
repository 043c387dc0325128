"""Search for the fewest layers, or heads, in which a mask still cuts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from attnscope._types import Arguments, FilmPlans, OnProgress
from attnscope.checks import is_whole
from attnscope.errors import InputError, quote
from attnscope.families.protocols import Pipeline
from attnscope.ranges import format_range, parse_range
from attnscope.storage.disk import require_writable
from attnscope.sweeping.films import Job, Request
from attnscope.sweeping.reduction import reduce_labels
from attnscope.sweeping.variants import Variant


@dataclass(frozen=True)
class FoundLayers:
    """A smallest set of layers that still cuts, and how well it does.

    ``score`` is its mean, and ``full_score`` that of all it began with, on films that nothing was searched on; None
    where there were none. ``searched_score`` is its mean on the films of the search, which flatters it, and ``trail``
    every set that was tried on them, with its score, in order.
    """

    layers: str
    score: float | None
    full_score: float | None
    num_held_out: int
    searched_score: float
    trail: tuple[tuple[str, float], ...]


def find_layers(
    model: str | os.PathLike[str] | Pipeline,
    prompts: str | Sequence[str],
    *,
    shots: FilmPlans,
    out: str | os.PathLike[str],
    layers: str = "all",
    over: Literal["layers", "heads"] = "layers",
    keep: float = 0.95,
    measure: Literal["transition_control", "recall"] = "transition_control",
    rule: str = "same_shot",
    seeds: Sequence[int] = (0,),
    held_out: int | None = None,
    processes: int = 1,
    on_film: OnProgress | None = None,
    loading: Arguments = MappingProxyType({}),
    **arguments: object,
) -> FoundLayers:
    """Find a smallest set of layers in which a mask cuts nearly as well as in all of them.

    Halves, quarters, ... of the layers are left out or kept alone while the mean ``measure`` stays at ``keep`` of the
    full set's or above (Zeller and Hildebrandt's delta debugging, TSE 2002). The set found is smallest in the sense
    that no single layer can be left out of it; a smaller one may exist elsewhere, and with few films the answer
    depends on them: so the last ``held_out`` prompts, half of them by default, take no part in the search, and what was
    found is reported on those. ``over="heads"`` looks for heads instead, the same in all of ``layers``. Films are kept
    as by :func:`attnscope.sweep`, so that a killed search goes on; ``transition_control`` counts cuts and ``recall``
    asks for their place, too.

    Raises
    ------
    InputError
        Something that cannot be searched, no prompt left to search on, or a full set that does not cut at all.
    """
    _require_search(keep, measure, over)
    require_writable(Path(out), "folder")
    job = Job(model, Request.read(prompts, shots, rule, seeds, arguments), processes, loading)
    searched, others = _split(len(job.maker.request.prompts), held_out)
    inside = format_range(parse_range(layers, job.maker.labels, name="layers"))
    job.maker.check((Variant(over, inside),))
    job.begin(out)
    tried: dict[tuple[int, ...], float] = {}

    def measure_films(labels: tuple[int, ...], films: Sequence[int]) -> float:
        said = format_range(labels)
        chosen = (said, "all") if over == "layers" else (inside, said)
        variant = Variant(f"{over} {said}", *chosen)
        job.make((variant,), on_film, films=films)
        return float(job.store.dataset((variant,))[measure].isel(prompt=films).mean())

    def score(labels: tuple[int, ...]) -> float:
        if labels not in tried:
            tried[labels] = measure_films(labels, searched)
        return tried[labels]

    everything = (
        parse_range(inside, job.maker.labels, name="layers")
        if over == "layers"
        else tuple(range(job.maker.num_heads))
    )
    full = score(everything)
    if not full > 0:
        raise InputError(
            expected=f"a rule that cuts in all of {over} {format_range(everything)}",
            got=f"a {measure} of 0",
            where="in find_layers",
            remedy="give another rule or more steps",
        )
    found = reduce_labels(everything, lambda labels: score(labels) >= keep * full)
    trail = tuple((format_range(labels), value) for labels, value in tried.items())
    held, held_full = (measure_films(labels, others) if others else None for labels in (found, everything))
    return FoundLayers(format_range(found), held, held_full, len(others), tried[found], trail)


def _require_search(keep: float, measure: str, over: str) -> None:
    if (
        not 0 < keep <= 1
        or measure not in ("transition_control", "recall")
        or over not in ("layers", "heads")
    ):
        raise InputError(
            expected="keep from 0 to 1, measure transition_control or recall and over layers or heads",
            got=f"{quote(keep)}, {quote(measure)} and {quote(over)}",
            where="in find_layers",
            remedy="0.95 is usual",
        )


def _split(num_films: int, held_out: int | None) -> tuple[range, range]:
    """Which films are searched on, and which are kept for the report."""
    kept = num_films // 2 if held_out is None else held_out
    if not is_whole(kept) or not 0 <= kept < num_films:
        raise InputError(
            expected=f"at least one of {num_films} prompts to search on",
            got=f"{quote(held_out)} held out",
            where="in find_layers",
            remedy="give more prompts, or hold fewer out",
        )
    return range(num_films - kept), range(num_films - kept, num_films)
