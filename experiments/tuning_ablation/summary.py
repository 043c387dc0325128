"""The four cells as numbers: transition control with its interval over captions, recall and precision of cuts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

PAPER = {(False, False): 0.0, (False, True): 0.2398, (True, False): 0.6168, (True, True): 0.8598}
"""Transition control of CineTrans-UNet in the paper, by mask and tuning."""

_DRAWS = 10_000

Line = dict[str, Any]


def interval(lines: Sequence[Line]) -> tuple[float, float]:
    """95 % of the mean when captions are drawn anew; the seeds of a caption stay together."""
    captions = sorted({line["caption"] for line in lines})
    means = np.array(
        [
            np.mean([line["transition_control"] for line in lines if line["caption"] == caption])
            for caption in captions
        ]
    )
    rng = np.random.default_rng(0)
    drawn = means[rng.integers(len(means), size=(_DRAWS, len(means)))].mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def cell(lines: Sequence[Line], *, mask: bool, tuning: bool) -> dict[str, Any]:
    """One cell of the table; no precision where no cut was found."""
    asked, found, matched = (
        sum(len(line["asked_frame"]) for line in lines),
        sum(len(line["found_frame"]) for line in lines),
        sum(line["matched"] for line in lines),
    )
    low, high = interval(lines)
    return {
        "mask": mask,
        "tuning": tuning,
        "n": len(lines),
        "transition_control": float(np.mean([line["transition_control"] for line in lines])),
        "low": low,
        "high": high,
        "recall": matched / asked,
        "precision": matched / found if found else None,
        "paper": PAPER[mask, tuning],
    }


def summarise(log: Path, results: Path, config: dict[str, Any]) -> None:
    """Write the table of all films that are there, and print it."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    cells = []
    for mask, tuning in PAPER:
        mine = [line for line in lines if (line["mask"], line["tuning"]) == (mask, tuning)]
        if mine:
            cells.append(cell(mine, mask=mask, tuning=tuning))
    results.write_text(json.dumps({"config": config, "cells": cells}, indent=2) + "\n", encoding="utf-8")
    for each in cells:
        print(
            f"mask {each['mask']!s:<5} tuning {each['tuning']!s:<5} n {each['n']:3d}  transition control "
            f"{each['transition_control']:.3f} [{each['low']:.3f}, {each['high']:.3f}] (paper {each['paper']:.2f})  "
            f"recall {each['recall']:.3f}  precision {each['precision'] or float('nan'):.3f}"
        )
