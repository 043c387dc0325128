"""Ask whether attention of the embedded models follows the shots, beyond being local.

    python experiments/block_structure/run.py [--out runs/block_structure]

Looks at held-out drawn films of two and three shots at several noise levels, with `wan-mini`, its control that never
saw a cut, and an untrained twin; and measures each against the true cuts and against cuts of other films
(shuffled). Writes a store for each model, results.json, the tables of README.md and the pictures. Resumable.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from rich.progress import Progress

import attnscope as scope
from attnscope.dataset import render, sample_scene

HERE = Path(__file__).parent


def films(config: dict[str, Any], num_frames: int) -> list[Any]:
    """The held-out films, at one length."""
    settings = config["films"]
    return [
        sample_scene(
            settings["first_seed"] + i,
            num_shots=settings["num_shots"][i % len(settings["num_shots"])],
            num_frames=num_frames,
            world=settings["world"],
        )
        for i in range(settings["num_clips"])
    ]


def load_model(name: str) -> Any:
    """An embedded model; "untrained" is wan-mini with a freshly initialised transformer."""
    if name != "untrained":
        return scope.load(name)
    import torch

    pipe = scope.load("wan-mini")
    torch.manual_seed(0)
    pipe.transformer = type(pipe.transformer)(**pipe.transformer.config).eval()
    return pipe


def look(name: str, config: dict[str, Any], num_frames: int, out: Path) -> xr.Dataset:
    """Probe one model on all films of one length."""
    scenes = films(config, num_frames)
    with Progress() as bar:
        task = bar.add_task(name)
        return scope.probe_video(
            load_model(name),
            [render(scene) for scene in scenes],
            prompt=[scene.caption(config["films"]["captions"]) for scene in scenes],
            shots=[scene.plan for scene in scenes],
            sigmas=config["probe"]["sigmas"],
            out=out / f"{name}-{num_frames}.zarr",
            on_step=lambda done, total: bar.update(task, completed=done, total=total),
        )


def shuffled(dataset: xr.Dataset) -> xr.Dataset:
    """The same maps against the cuts of another film with as many shots (two films on)."""
    return dataset.assign_coords(
        {name: dataset[name].roll(prompt=2, roll_coords=False) for name in ("query_shot", "key_shot")}
    )


def statistics(maps: xr.Dataset) -> dict[str, xr.DataArray]:
    """Each statistic over prompt and layer; ratios as their logarithms, as they are averaged."""
    found = scope.structure.boundary_error(scope.structure.boundaries(maps, num="known"), maps)
    ratios = {
        "adjusted_contrast": scope.structure.adjusted_contrast(maps),
        "contrast": scope.structure.contrast(maps),
        "contrast_distance_only": scope.structure.distance_only_contrast(maps),
    }
    return {name: xr.apply_ufunc(np.log, value) for name, value in ratios.items()} | {
        "adjusted_r": scope.structure.adjusted_r(maps),
        "r": scope.structure.correlation(maps),
        "r_distance_removed": scope.structure.correlation(maps, distance_removed=True),
        "boundary_recall": found["recall"],
    }


def as_printed(name: str, value: xr.DataArray) -> float:
    """A mean over films as it is printed: a ratio again where it was a logarithm."""
    return float(np.exp(value)) if "contrast" in name else float(value)


def measure(dataset: xr.Dataset, low_noise: float) -> dict[str, Any]:
    """Mean over films of each statistic, a film's map being the mean over heads and over the low noise levels.

    Each film is reported at the layer that has the highest adjusted r on the other half of the films. The contrast at
    equal places of other films is that of the layer chosen most; p is of the maps averaged over all layers.
    """
    maps = scope.structure.mean_map(dataset.sel(branch="cond", step=dataset.sigma <= low_noise))
    values = statistics(maps)
    chosen = scope.structure.best_on_other_films(values["adjusted_r"].transpose("prompt", "layer"))
    layers, best = chosen["chosen"], chosen.attrs["most_chosen"]
    matched = scope.structure.place_matched_contrast(maps.sel(layer=best))
    test = scope.structure.cut_test(maps, over="layer")
    return {
        "best_layer": best,
        **{name: as_printed(name, value.sel(layer=layers).mean("prompt")) for name, value in values.items()},
        "place_matched_contrast": float(matched["contrast"]),
        "place_matched_contrast_ci": [float(matched["low"]), float(matched["high"])],
        "p": float(test["p"]),
        "by_layer": {
            name: [round(as_printed(name, each), 4) for each in value.mean("prompt")]
            for name, value in values.items()
        },
    }


def ideal(config: dict[str, Any], num_frames: int) -> dict[str, Any]:
    """The ceiling: attention spread evenly over the own shot, contrast 1000.

    Short shots get more mass a frame than long ones, so even this does not correlate perfectly with "same shot".
    """
    plans = [scene.plan.to_latent() for scene in films(config, num_frames)]
    maps = [
        scope.synthetic.block_attention(plan, num_layers=1, num_heads=1, num_steps=1, contrast=1000.0)
        .drop_vars(["query_shot", "key_shot"])
        .assign_coords(prompt=[index])
        for index, plan in enumerate(plans)
    ]
    stacked = scope.schema.with_shots(xr.concat(maps, "prompt"), plans)
    return measure(stacked.assign_coords(sigma=("step", [0.0])), 1.0)


def by_noise(dataset: xr.Dataset, layer: int) -> dict[str, dict[str, float]]:
    """The headline statistics of one layer at each noise level."""
    rows = {}
    for step, sigma in zip(dataset.step.values, dataset.sigma.values, strict=True):
        one = scope.structure.mean_map(dataset.sel(branch="cond", step=[step], layer=[layer]))
        means = {name: value.mean() for name, value in statistics(one).items()}
        matched = scope.structure.place_matched_contrast(one)["contrast"]
        rows[f"{sigma:g}"] = {name: as_printed(name, value) for name, value in means.items()}
        rows[f"{sigma:g}"]["place_matched_contrast"] = float(matched.squeeze())
    return rows


def table(results: dict[str, Any]) -> str:
    """The table of README.md."""
    columns = (
        "adjusted_contrast",
        "place_matched_contrast",
        "adjusted_r",
        "contrast",
        "contrast_distance_only",
        "r",
        "r_distance_removed",
        "boundary_recall",
    )
    lines = [f"| model | layer | {' | '.join(columns)} | p |", "|---|---|" + "---|" * (1 + len(columns))]
    for name, row in results.items():
        numbers = " | ".join(f"{row[column]:.2f}" for column in columns)
        lines.append(f"| {name} | {row['best_layer']} | {numbers} | {row['p']:.4f} |")
    return "\n".join(lines)


def draw(dataset: xr.Dataset, low_noise: float, best: int, stem: Path) -> None:
    """The overview picture of one model."""
    maps = scope.structure.mean_map(dataset.sel(branch="cond", step=dataset.sigma <= low_noise))
    profile = scope.structure.profile
    figure = scope.plots.plot_overview(
        dataset,
        profile(scope.structure.contrast(maps), scale="log", level=None),
        profile(scope.structure.correlation(maps), level=None),
        distance_only=profile(scope.structure.distance_only_contrast(maps), scale="log", level=None),
        adjusted=profile(scope.structure.adjusted_r(maps), level=None),
        layer=best,
        band=(7, 28),
        prompt=1,
    )
    scope.plots.save_figure(figure, stem)


def main() -> None:
    """Look, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/block_structure"))
    parser.add_argument("--config", type=Path, default=HERE / "config.toml")
    arguments = parser.parse_args()
    config = tomllib.loads(arguments.config.read_text())
    low_noise = config["probe"]["low_noise"]
    results: dict[str, Any] = {}
    noise: dict[str, Any] = {}
    arguments.out.mkdir(parents=True, exist_ok=True)
    for num_frames, name in itertools.product(config["films"]["num_frames"], config["probe"]["models"]):
        dataset = look(name, config, num_frames, arguments.out)
        row = f"{name}, {num_frames} frames"
        results[row] = measure(dataset, low_noise)
        results[f"{row}, cuts of another film"] = measure(shuffled(dataset), low_noise)
        noise[row] = by_noise(dataset, results[row]["best_layer"])
        draw(dataset, low_noise, results[row]["best_layer"], arguments.out / f"{name}-{num_frames}")
    results |= {f"ideal blocks, {n} frames": ideal(config, n) for n in config["films"]["num_frames"]}
    document = {"config": config, "results": results, "by_noise_at_best_layer": noise}
    (arguments.out / "results.json").write_text(json.dumps(document, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
