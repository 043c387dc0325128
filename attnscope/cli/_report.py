"""What a probe leaves for people: a table on the terminal, and pictures beside the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attnscope._types import Document, Frames
from attnscope.cli._output import announce, finite, print_json, print_table
from attnscope.ranges import format_range
from attnscope.storage import STORE_NAME
from attnscope.storage.disk import write_durably
from attnscope.storage.store import Store

if TYPE_CHECKING:
    import xarray as xr

PAPER_LAYERS = (7, 28)
"""The layers that CineTrans masks in a 30-block Wan; marked in profiles of such models."""


def print_summary(summary: Document, *, against: str = "the cuts") -> None:
    """Print the headline numbers, and the layers where attention follows the cuts most on these films."""
    from attnscope.structure.headline import LINES

    rows = [(words, summary[name], _range(summary.get(f"{name}_ci"))) for name, words in LINES]
    title = f"Attention across {against} (mean over heads, steps, layers)"
    print_table(title, ("measure", "value", "95 %"), rows)
    adjusted, r = summary["adjusted_contrast_by_layer"], summary["adjusted_r_by_layer"]
    contrast, alone = summary["contrast_by_layer"], summary["contrast_distance_only_by_layer"]
    known = [(layer, value) for layer, value in adjusted.items() if value is not None]
    best = [layer for layer, _ in sorted(known, key=lambda item: -item[1])[:5]]
    lines = [(f"layer {layer}", adjusted[layer], r[layer], contrast[layer], alone[layer]) for layer in best]
    if lines:
        columns = ("layer", "adjusted contrast", "adjusted r", "contrast", "by distance alone")
        print_table("Highest on these very films, so higher than on others", columns, lines)
    if summary.get("p") is None and summary.get("p_reason"):
        print(f"no p: {summary['p_reason']}")
    for note in summary.get("notes", []):
        print(f"note: {note}")


def _range(ends: Sequence[float | None] | None) -> str | None:
    if ends is None or None in ends:
        return None
    return " to ".join(f"{end:.3g}" for end in ends)


def report_probe(
    model: str,
    dataset: xr.Dataset,
    folder: Path,
    *,
    as_json: bool,
    film: Frames | None,
    found: list[list[int]] | None,
    asked_s: list[float] | list[list[float]] | None,
    detector: str | None = None,
    films: Sequence[Path] = (),
) -> None:
    """Draw the pictures, write summary.json, and print the same as a table or as JSON.

    ``found`` are the cuts that each film has, in video frames; what is measured against them stands beside what is
    measured against the cuts asked for, in `against_cuts_found`. ``detector`` is what found the cuts of given videos.
    """
    announce("measuring and drawing")
    from attnscope.structure.headline import measure

    branch = str(dataset.branch.values[0])
    document = finite(
        {
            "store": str(folder / STORE_NAME),
            "model": model,
            "layers": format_range(dataset.layer.values.tolist()),
            "modules": dataset.module.values.tolist(),
            "steps": dataset.step.values.tolist(),
            "sigmas": dataset.sigma.values.tolist(),
            "num_frames_latent": dataset.sizes["query_frame"],
            **_cuts(folder / STORE_NAME, asked_s),
            "films": [{"video": str(each), "strip": str(each.with_suffix(".png"))} for each in films],
            **({} if detector is None else {"cuts_detector": detector}),
            **measure(dataset, branch=branch),
            **({} if found is None else {"against_cuts_found": _against(dataset, found, branch)}),
            "figures": draw_figures(dataset, folder, branch=branch, film=film),
        }
    )
    content = json.dumps(document, indent=2, allow_nan=False) + "\n"
    write_durably(folder / "summary.json", content.encode())
    if as_json:
        print_json(document)
        return
    _print_probe(document)


def _print_probe(document: Document) -> None:
    found = document.get("against_cuts_found")
    print_summary(document, against="the cuts" if found is None else "the cuts asked for")
    if found is not None:
        print_summary(found, against="the cuts found in the film")
    where = f"layers {document['layers']} of {document['model']}"
    print(f"looked at {where}, {document['num_frames_latent']} latent frames")
    print(
        f"cuts      asked at {document['cuts_requested_s']} s, fall at video frame {document['cuts_realised_frame']}"
    )
    if found is not None:
        print(f"          found in the film at video frame {found['cuts_found_frame']}")
    if "cuts_detector" in document:
        print(f"found     cuts that nobody gave, by {document['cuts_detector']}")
    for film in document["films"][:4]:
        print(f"film      {film['video']}, pictures of it in {film['strip']}")
    print(f"store     {document['store']}")
    print(f"pictures  {', '.join(path for path in document['figures'] if path.endswith('.png'))}")


def _against(dataset: xr.Dataset, found: list[list[int]], branch: str) -> Document:
    """Measure against the cuts that the films have; one list of them, or one for each prompt."""
    from attnscope.structure import with_cuts
    from attnscope.structure.headline import has_cuts, measure

    there = with_cuts(dataset, found)
    summary = measure(there, branch=branch)
    if not has_cuts(there):
        summary["notes"] = ["no film has a cut, so there is nothing to measure against"]
    return {"cuts_found_frame": found[0] if len(found) == 1 else found, **summary}


def _cuts(store: Path, asked_s: list[float] | list[list[float]] | None) -> Document:
    """Where the cuts were asked and where they fall on the latent grid: one list, or one for each prompt.

    What was written on the command line is given as it was written: the plan knows only the frames it was brought to.
    """
    plans = Store.open(store).header.plans
    asked = [
        [] if plan is None else [float(frame / plan.fps) for frame in plan.requested_frame] for plan in plans
    ]
    fallen = [[] if plan is None else list(plan.realised_frame) for plan in plans]
    alike = all(plan == plans[0] for plan in plans)
    if asked_s is None:
        asked_s = asked[0] if alike else asked
    return {
        "cuts_requested_s": asked_s,
        "cuts_realised_frame": fallen[0] if alike else fallen,
    }


def draw_figures(dataset: xr.Dataset, folder: Path, *, branch: str, film: Frames | None) -> list[str]:
    """Draw maps, and where there are cuts the profile over layers and the overview; PNG and PDF each.

    ``film`` has one picture for each latent frame, shown in the overview.
    """
    from attnscope import plots
    from attnscope.structure.headline import has_cuts, layer_curves

    num_runs = dataset.sizes["prompt"]
    title = f"Maps of the first of {num_runs} runs; curves over all" if num_runs > 1 else None
    drawn = plots.save_figure(plots.plot_maps(dataset, branch=branch, title=title), folder / "maps")
    if has_cuts(dataset):
        curves = layer_curves(dataset, branch=branch)
        deep = int(dataset.layer.max()) >= PAPER_LAYERS[1]
        options: Document = {**curves, "band": PAPER_LAYERS if deep else None}
        drawn += plots.save_figure(plots.plot_profile(**options), folder / "profile")
        drawn += plots.save_figure(
            plots.plot_overview(dataset, branch=branch, film=film, title=title, **options),
            folder / "overview",
        )
    return [str(path) for path in drawn]
