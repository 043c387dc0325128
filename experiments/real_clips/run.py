"""See what the embedded model's attention shows on real multi-shot clips, whose cuts are known.

    python experiments/real_clips/run.py VIDEOS [--out runs/real_clips]

VIDEOS is a folder with manifest.csv and the clips it lists. Clips whose cuts were marked by the authors, or whose
caption gives the shot times, are cropped of their drawn border, scaled to 64 x 64, brought to the model's frame rate
(at most 65 frames) and looked at in noise. Writes one store a clip, results.csv and the table of README.md; a clip
without a known cut, or that cannot be read, is a row with the reason.
"""

from __future__ import annotations

import argparse
import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from rich.progress import track

import attnscope as scope
from attnscope.errors import AttnscopeError
from attnscope.video.files import read_video

BORDER = (0.13, 0.04, 0.04, 0.04)
SIGMAS = (0.5, 0.25, 0.1)
COLUMNS = (
    "file",
    "method",
    "shots_from",
    "cuts_latent",
    "contrast",
    "r",
    "adjusted_contrast",
    "adjusted_r",
    "p",
    "layer",
    "adjusted_r_there",
    "boundary_recall",
    "boundary_distance_frame",
    "note",
)


def source_cuts(row: dict[str, str]) -> tuple[str, list[int]]:
    """Cuts in frames of the file: the authors' marks, else the times of the caption."""
    if row["marked_cut_frames"]:
        return "marks", [int(frame) for frame in re.findall(r"\d+", row["marked_cut_frames"])]
    spans = re.findall(r"\[([\d.]+),\s*([\d.]+)\]", row["requested_times_s"])
    return "caption", [round(float(start) * float(row["fps"])) for start, _ in spans[1:]]


def look(pipe: Any, row: dict[str, str], folder: Path, out: Path) -> dict[str, Any]:
    """Probe one clip and measure it."""
    kind, cuts = source_cuts(row)
    facts: dict[str, Any] = {"file": row["file"], "method": row["method"], "shots_from": kind}
    if not cuts:
        return {**facts, "shots_from": "", "note": "no cut known"}
    crop = BORDER if row["bordered"] == "yes" else (0.0, 0.0, 0.0, 0.0)
    try:
        footage = read_video(
            folder / row["file"], height=64, width=64, fps=pipe.fps, max_frames=65, crop=crop
        )
        plan = scope.ShotPlan.from_frames(
            [footage.at(cut) for cut in cuts], num_frames=len(footage.frames), fps=footage.fps
        )
        dataset = scope.probe_video(
            pipe, footage.frames, shots=plan, sigmas=SIGMAS, out=out / f"{Path(row['file']).stem}.zarr"
        )
    except AttnscopeError as error:
        return {**facts, "note": str(error)}
    return {**facts, **measure(dataset), "cuts_latent": " ".join(map(str, plan.to_latent().cuts))}


def measure(dataset: Any) -> dict[str, Any]:
    """Statistics of the mean map over layers, heads and noise levels and adjusted r by layer."""
    summary = scope.structure.summary(dataset)
    return {
        "contrast": summary["contrast"],
        "r": summary["pearson_r"],
        "adjusted_contrast": summary["adjusted_contrast"],
        "adjusted_r": summary["adjusted_r"],
        "p": summary["p"],
        "by_layer": summary["adjusted_r_by_layer"],
        "boundary_recall": summary["boundary_recall_within_1"],
        "boundary_distance_frame": summary["boundary_distance_frame"],
    }


def name_layers(rows: list[dict[str, Any]]) -> None:
    """Add the layer that is best on all other clips, and the adjusted r that this clip has there."""
    measured = [row for row in rows if "by_layer" in row]
    tables = [row.pop("by_layer") for row in measured]
    values = xr.DataArray(
        [[np.nan if r is None else r for r in table.values()] for table in tables],
        dims=("prompt", "layer"),
        coords={"layer": list(tables[0])},
    )
    found = scope.structure.best_on_other_films(values, num_folds=len(measured))
    for row, layer, r in zip(measured, found["chosen"].values, found["value"].values, strict=True):
        row |= {"layer": int(layer), "adjusted_r_there": float(r)}


def cell(value: Any) -> str:
    """How a number stands in the table."""
    if isinstance(value, float):
        return f"{value:.2f}"
    return "" if value is None else str(value)


def main() -> None:
    """Look at every clip of the manifest."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("videos", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/real_clips"))
    parser.add_argument("--model", default="wan-mini")
    parser.add_argument(
        "--untrained", action="store_true", help="control: the same model, freshly initialised"
    )
    arguments = parser.parse_args()
    pipe = scope.load(arguments.model)
    if arguments.untrained:
        torch.manual_seed(0)
        pipe.transformer = type(pipe.transformer)(**pipe.transformer.config).eval()
    with (arguments.videos / "manifest.csv").open(newline="") as file:
        clips = list(csv.DictReader(file))
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = [look(pipe, row, arguments.videos, arguments.out) for row in track(clips, description="clips")]
    name_layers(rows)
    with (arguments.out / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for row in rows:
        if not row.get("note"):
            print(f"| {' | '.join(cell(row.get(column)) for column in COLUMNS)} |")


if __name__ == "__main__":
    main()
