"""Tables over videos: one line a video, and one line a method with its mean, its interval and how many videos it is."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from attnscope.errors import InputError, SetupError
from attnscope.metrics.references import Reference
from attnscope.metrics.scoring.score import Row
from attnscope.storage.disk import replace_file
from attnscope.student import FEWEST, share_interval, student_interval

MEASURES: Mapping[str, tuple[str, ...]] = {
    "transition_control": ("transition_control",),
    "shot_cut_accuracy": ("shot_cut_accuracy",),
    "soft_control": ("soft_control",),
    "f1": ("agreement", "f1"),
    "f1_latent": ("agreement_latent", "f1"),
    "offset_frame": ("agreement", "offset_frame"),
    "inter_semantic": ("consistency", "inter_semantic", "value"),
    "inter_semantic_adjacent": ("consistency", "inter_semantic_adjacent", "value"),
    "inter_visual": ("consistency", "inter_visual", "value"),
    "inter_visual_adjacent": ("consistency", "inter_visual_adjacent", "value"),
    "intra_subject": ("consistency", "intra_subject", "value"),
    "intra_background": ("consistency", "intra_background", "value"),
    "text_alignment": ("consistency", "text_alignment", "value"),
    "aesthetic": ("quality", "aesthetic", "value"),
    "flicker": ("quality", "flicker"),
    "flicker_ratio": ("quality", "flicker_ratio"),
    "sharpness": ("quality", "sharpness"),
    "sharpness_after_cut_0": ("quality", "sharpness_after_cut_0"),
}
"""Every measure that is averaged over videos, and where it stands in a row."""

_SHARES = ("transition_control", "shot_cut_accuracy", "soft_control", "f1", "f1_latent")

_FACTS = (
    *("file", "method", "group", "status", "error"),
    *("num_frames", "fps", "width", "height", "duration_s"),
    *("detector", "num_shots_requested", "num_shots_detected"),
)
_GAPS = ("inter_semantic", "inter_visual")


def measure_of(row: Row, name: str) -> float | None:
    """Take one measure out of a row; None where it could not be had.

    >>> measure_of({"agreement": {"f1": 0.5}}, "f1"), measure_of({"agreement": None}, "f1")
    (0.5, None)
    """
    value: Any = row
    for step in MEASURES[name]:
        value = value.get(step) if isinstance(value, Mapping) else None
    return None if value is None or math.isnan(value) else float(value)


def methods_table(rows: Iterable[Row], *, reference: Reference | None = None) -> list[Row]:
    """Summarise videos by method: for each measure the mean, its 95 % interval, and the number of videos behind it.

    The interval is Student's over videos, Wilson's for shares that are all alike, None for fewer than three. With a
    reference, ``gap`` has the distance of each likeness to it, or the reason why there is none. Videos that failed are
    counted, not measured. In the order in which the methods first appear.

    >>> rows = [{"method": "a", "status": "ok", "transition_control": value} for value in (0.0, 1.0)]
    >>> line = methods_table(rows)[0]
    >>> line["method"], line["num_videos"], line["transition_control"]["mean"]
    ('a', 2, 0.5)
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(str(row.get("method") or "(no method)"), []).append(row)
    table = []
    for method, members in groups.items():
        good = [row for row in members if row["status"] == "ok"]
        line: Row = {"method": method, "num_videos": len(good), "num_failed": len(members) - len(good)}
        line.update({name: _summary(good, name) for name in MEASURES})
        if reference is not None:
            line["gap"] = {name: _gap(good, name, reference) for name in _GAPS}
        table.append(line)
    return table


def _summary(rows: Sequence[Row], name: str) -> Row:
    values = np.array([value for row in rows if (value := measure_of(row, name)) is not None])
    if not len(values):
        return {"mean": None, "low": None, "high": None, "num": 0}
    low = high = None
    if len(values) >= FEWEST:
        alike = name in _SHARES and np.ptp(values) < 1e-12
        ends = share_interval(values, 1.0, level=0.95) if alike else student_interval(values, level=0.95)
        low, high = ends.tolist()
    return {"mean": float(values.mean()), "low": low, "high": high, "num": len(values)}


def _gap(rows: Sequence[Row], name: str, reference: Reference) -> Row:
    entries = [row["consistency"][name] for row in rows]
    kept = [entry for entry in entries if entry["value"] is not None]
    encoders = sorted({f"{entry['encoder']}:{entry['weights_sha256']}" for entry in kept})
    if len(encoders) != 1:
        return {
            "distance": None,
            "reason": f"expected one encoder, got {', '.join(encoders) or 'no value at all'}",
        }
    try:
        return {
            **asdict(reference.gap(name, [entry["value"] for entry in kept], encoders[0])),
            "reason": None,
        }
    except InputError as error:
        return {"distance": None, "reason": str(error)}


def flat_row(row: Row) -> Row:
    """Lay a row out for a table: plain columns, cuts as frames with blanks between."""
    cells = {name: row.get(name) for name in _FACTS}
    for name in ("cuts_requested_frame", "cuts_detected_frame", "cuts_marked_frame"):
        frames = row.get(name)
        cells[name] = None if frames is None else " ".join(map(str, frames))
    cells.update({name: measure_of(row, name) for name in MEASURES})
    for name in _GAPS:
        entry = (row.get("consistency") or {}).get(name) or {}
        cells[f"{name}_encoder"] = entry.get("encoder")
    return cells


def flat_method(line: Row) -> Row:
    """Lay a line of the table of methods out in plain columns."""
    cells: Row = {name: line[name] for name in ("method", "num_videos", "num_failed")}
    for name in MEASURES:
        cells[name] = line[name]["mean"]
        cells.update({f"{name}_{part}": line[name][part] for part in ("low", "high", "num")})
    for name, gap in line.get("gap", {}).items():
        cells.update({f"{name}_gap": gap["distance"], f"{name}_gap_null_high": gap.get("null_high")})
    return cells


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write rows of equal columns as CSV; what is None is empty."""
    with replace_file(path) as part, open(part, "x", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(path: Path, rows: Sequence[Row]) -> None:
    """Write rows of equal columns as Parquet.

    Raises
    ------
    SetupError
        Pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise SetupError(
            expected="pyarrow for a Parquet table",
            got="no such package",
            where="in this environment",
            remedy='install attnscope with pip install "attnscope[metrics]", or read the CSV file',
        ) from error
    with replace_file(path) as part:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), part)
