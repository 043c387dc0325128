"""In how many shots the character is kept, and whether the cuts are in place, with intervals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attnscope.structure import wilson

Line = dict[str, Any]


def share(hits: int, tries: int) -> dict[str, Any] | None:
    """A share with its 95 % interval (Wilson's); none where nothing was tried."""
    if not tries:
        return None
    low, high = wilson(hits, tries)
    return {"value": hits / tries, "low": float(low), "high": float(high), "n": tries}


def row(name: str, lines: Sequence[Line], character: dict[str, str]) -> dict[str, Any]:
    """One condition; drawn films have no cuts to look for."""
    said = [pair for line in lines for pair in zip(line["colours"], line["shapes"], strict=True)]
    colour = [each == character["colour"] for each, _ in said]
    shape = [each == character["shape"] for _, each in said]
    asked, found, matched = (
        sum(len(line.get("asked_frame", ())) for line in lines),
        sum(len(line.get("found_frame", ())) for line in lines),
        sum(line.get("matched", 0) for line in lines),
    )
    return {
        "condition": name,
        "films": len(lines),
        "colour_kept": share(sum(colour), len(said)),
        "shape_kept": share(sum(shape), len(said)),
        "both_kept": share(sum(map(min, colour, shape)), len(said)),
        "recall": share(matched, asked),
        "precision": share(matched, found),
    }


def summarise(log: Path, results: Path, config: dict[str, Any]) -> None:
    """Write the table of all films that are there, and print it; shots of a film count as tries of their own."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    names = list(dict.fromkeys(line["condition"] for line in lines))
    rows = [
        row(name, [line for line in lines if line["condition"] == name], config["character"])
        for name in names
    ]
    results.write_text(json.dumps({"config": config, "conditions": rows}, indent=2) + "\n", encoding="utf-8")
    for each in rows:
        words = [
            f"{key} {value['value']:.2f} [{value['low']:.2f}, {value['high']:.2f}] n {value['n']}"
            for key, value in each.items()
            if isinstance(value, dict)
        ]
        print(f"{each['condition']:<12} {each['films']:3d} films  {'  '.join(words)}")
