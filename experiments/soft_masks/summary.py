"""Cuts in place and likeness of shots by the strength of the mask, with intervals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from attnscope.structure import interval, wilson

Line = dict[str, Any]


def share(hits: int, tries: int) -> dict[str, Any] | None:
    """A share with its 95 % interval (Wilson's); none where nothing was tried."""
    if not tries:
        return None
    low, high = wilson(hits, tries)
    return {"value": hits / tries, "low": float(low), "high": float(high), "n": tries}


def mean(values: Sequence[float | None]) -> dict[str, Any] | None:
    """A mean over films with its 95 % interval (Student's); no ends below three films, as nothing is known of them."""
    films = xr.DataArray([value for value in values if value is not None], dims="prompt").astype(float)
    if not films.size:
        return None
    low, high = (None if bool(end.isnull()) else float(end) for end in interval(films))
    return {"value": float(films.mean()), "low": low, "high": high, "n": films.size}


def row(name: str, lines: Sequence[Line]) -> dict[str, Any]:
    """One condition."""
    asked, found = (sum(len(line[side]) for line in lines) for side in ("asked_frame", "found_frame"))
    matched = sum(line["matched"] for line in lines)
    return {
        "condition": name,
        "films": len(lines),
        "recall": share(matched, asked),
        "precision": share(matched, found),
        "likeness": mean([line["likeness"] for line in lines]),
    }


def summarise(log: Path, results: Path, config: dict[str, Any]) -> None:
    """Write the table of all films that are there, and print it; cuts of a film count as tries of their own."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    names = list(dict.fromkeys(line["condition"] for line in lines))
    rows = [row(name, [line for line in lines if line["condition"] == name]) for name in names]
    results.write_text(json.dumps({"config": config, "conditions": rows}, indent=2) + "\n", encoding="utf-8")
    for each in rows:
        words = [f"{key} {value['value']:.3f}" for key, value in each.items() if isinstance(value, dict)]
        print(f"{each['condition']:<16} {each['films']:3d} films  {'  '.join(words)}")
