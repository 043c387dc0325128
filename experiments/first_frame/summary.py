"""Flicker within shots of each condition, what the visible first frame changes in the same film, and cuts in place."""

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
        "flicker": mean([line["flicker"] for line in lines]),
    }


def change(lines: Sequence[Line], before: str, after: str) -> dict[str, Any]:
    """Flicker of the same captions and noise under two conditions: the mean difference, film by film."""
    flicker = {(line["condition"], line["caption"], line["seed"]): line["flicker"] for line in lines}
    films = {key[1:] for key in flicker if (before, *key[1:]) in flicker and (after, *key[1:]) in flicker}
    found = mean([flicker[after, *film] - flicker[before, *film] for film in sorted(films)])
    return {"before": before, "after": after, "flicker": found}


def summarise(log: Path, results: Path, config: dict[str, Any]) -> None:
    """Write the table of all films that are there, and print it; cuts of a film count as tries of their own."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    names = list(dict.fromkeys(line["condition"] for line in lines))
    rows = [row(name, [line for line in lines if line["condition"] == name]) for name in names]
    changes = [
        change(lines, "first frame hidden", "first frame visible"),
        change(lines, "none", "first frame hidden"),
    ]
    table = {"config": config, "conditions": rows, "changes": changes}
    results.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    for each in rows:
        words = [f"{key} {value['value']:.3f}" for key, value in each.items() if isinstance(value, dict)]
        print(f"{each['condition']:<20} {each['films']:3d} films  {'  '.join(words)}")
    for each in changes:
        print(f"{each['after']} instead of {each['before']}: {each['flicker']}")
