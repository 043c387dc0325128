"""What a probe leaves for people: a table on the terminal, and pictures beside the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from attnscope.cli._output import print_table

if TYPE_CHECKING:
    import xarray as xr

PAPER_LAYERS = (7, 28)
"""The layers that CineTrans masks in a 30-block Wan; marked in profiles of such models."""

LINES = (
    ("adjusted_contrast", "adjusted contrast: own shot / across, as far and as popular"),
    ("adjusted_r", "adjusted r: the same as a correlation"),
    ("place_matched_contrast", "contrast at the same places of other films"),
    ("p", "p: would other cuts fit as well?"),
    ("contrast", "contrast: intra-shot mass / inter-shot mass"),
    ("contrast_distance_only", "what distance alone makes of the contrast"),
    ("contrast_lag_matched", "contrast at equal frame distance"),
    ("own_shot_mass", "share of attention that stays in the shot"),
    ("pearson_r", "raw r of mass with same-shot, off-diagonal"),
    ("pearson_r_distance_removed", "r with the frame-distance profile removed"),
    ("first_frame_sink", "pull of the first frame (1 = none)"),
    ("boundary_recall_within_1", "cuts read from attention, within 1 latent frame"),
)


def print_summary(summary: Mapping[str, Any], *, against: str = "the cuts") -> None:
    """Print the headline numbers, and the layers where attention follows the cuts most on these films."""
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


def measure(dataset: xr.Dataset, *, branch: str) -> dict[str, Any]:
    """Compute the summary; where no shots are known the video counts as one shot, and what needs cuts is None."""
    from attnscope import structure

    if not bool((dataset.query_shot >= 0).any()):
        whole = {name: dataset[name] * 0 for name in ("query_shot", "key_shot")}
        dataset = dataset.assign_coords(whole)
    summary = dict(structure.summary(dataset, branch=branch))
    notes = list(cast("list[str]", summary["notes"]))
    if not _has_cuts(dataset):
        notes = ["no cut is known, so there is nothing to measure against; give the shots with --shots"]
    done = dataset.coords.get("done")
    if done is not None and not bool(done.all()):
        num_done, num_units = int(done.sum()), int(done.size)
        notes.append(f"unfinished: {num_done} of {num_units} steps are there, and only those are measured")
    return {**summary, "notes": notes}


def draw_figures(dataset: xr.Dataset, folder: Path, *, branch: str, film: Any | None) -> list[str]:
    """Draw maps, and where there are cuts the profile over layers and the overview; PNG and PDF each.

    ``film`` has one picture for each latent frame, shown in the overview.
    """
    from attnscope import plots

    num_runs = dataset.sizes["prompt"]
    title = f"Maps of the first of {num_runs} runs; curves over all" if num_runs > 1 else None
    drawn = plots.save_figure(plots.plot_maps(dataset, branch=branch, title=title), folder / "maps")
    if _has_cuts(dataset):
        curves = layer_curves(dataset, branch=branch)
        deep = int(dataset.layer.max()) >= PAPER_LAYERS[1]
        options: dict[str, Any] = {**curves, "band": PAPER_LAYERS if deep else None}
        drawn += plots.save_figure(plots.plot_profile(**options), folder / "profile")
        drawn += plots.save_figure(
            plots.plot_overview(dataset, branch=branch, film=film, title=title, **options),
            folder / "overview",
        )
    return [str(path) for path in drawn]


def layer_curves(dataset: xr.Dataset, *, branch: str) -> dict[str, xr.Dataset]:
    """Contrast, what distance alone makes of it, and the correlations over layers, with their intervals."""
    from attnscope import structure

    maps = structure.mean_map(dataset.sel(branch=branch))
    return {
        "contrast": structure.profile(structure.contrast(maps), scale="log"),
        "distance_only": structure.profile(structure.distance_only_contrast(maps), scale="log"),
        "correlation": structure.profile(structure.correlation(maps)),
        "adjusted": structure.profile(structure.adjusted_r(maps)),
    }


def _has_cuts(dataset: xr.Dataset) -> bool:
    return bool((dataset.query_shot.max() > 0).item())
