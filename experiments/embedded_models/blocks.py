"""Whether attention of the embedded models follows the shots of films that they are shown.

A film's map is the mean over heads; at the low noise levels also over those. Statistics are computed for each film,
then averaged over films. Each statistic is reported at the layer where it is highest on films that are used for nothing
else; contrast also at the layer of distance-removed r.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from judging import Making

import attnscope as scope
from attnscope.dataset import render

CHOOSING_SEED, HELD_OUT_SEED = 100_000_000, 110_000_000
SIGMAS = (0.9, 0.75, 0.5, 0.25, 0.1)
LOW_NOISE = 0.5


def _look(pipe: Any, making: Making, first_seed: int, num_films: int, out: Path) -> xr.Dataset:
    scenes = [making.scene(first_seed + i, num_shots=2 + i % 2) for i in range(num_films)]
    return scope.probe_video(
        pipe,
        [render(scene) for scene in scenes],
        prompt=[scene.caption("none") for scene in scenes],
        shots=[scene.plan for scene in scenes],
        sigmas=SIGMAS,
        out=out,
    )


def _by_film(dataset: xr.Dataset, sigmas: tuple[float, ...]) -> dict[str, xr.DataArray]:
    """Statistics over (prompt, layer), a film's map being the mean over these noise levels."""
    steps = [i for i, sigma in enumerate(dataset.sigma.values) if np.isclose(sigma, sigmas, atol=1e-3).any()]
    maps = scope.structure.mean_map(dataset.sel(branch="cond").isel(step=steps))
    return {
        "contrast": scope.structure.contrast(maps),
        "r": scope.structure.correlation(maps),
        "r_distance_removed": scope.structure.correlation(maps, distance_removed=True),
    }


def _with_interval(values: xr.DataArray, *, ratio: bool = False) -> dict[str, Any]:
    low, high = scope.structure.interval(values, scale="log" if ratio else "linear")
    value = np.exp(np.log(values).mean()) if ratio else values.mean()
    return {"value": float(value), "interval": [float(low), float(high)], "n": values.sizes["prompt"]}


def _best_layer(values: xr.DataArray, key: str) -> int:
    return int((np.log(values) if key == "contrast" else values).mean("prompt").idxmax("layer"))


def _at(values: xr.DataArray, layer: int, key: str) -> dict[str, Any]:
    return _with_interval(values.sel(layer=layer), ratio=key == "contrast") | {"layer": layer}


def blocks_of_models(pipes: dict[str, Any], making: Making, num_films: int, work: Path) -> dict[str, Any]:
    """Distance-removed r and contrast of each model, and how far they differ at high noise."""
    result: dict[str, Any] = {}
    at_high_noise: dict[float, dict[str, xr.DataArray]] = {0.75: {}, 0.9: {}}
    low = tuple(sigma for sigma in SIGMAS if sigma <= LOW_NOISE)
    for name, pipe in pipes.items():
        choosing = _look(pipe, making, CHOOSING_SEED, num_films // 2, work / f"choosing-{name}.zarr")
        held_out = _look(pipe, making, HELD_OUT_SEED, num_films, work / f"held-out-{name}.zarr")
        layers = {key: _best_layer(values, key) for key, values in _by_film(choosing, low).items()}
        measured = _by_film(held_out, low)
        result[name] = {key: _at(measured[key], layer, key) for key, layer in layers.items()}
        same = layers["r_distance_removed"]
        result[name]["contrast_where_r_is_best"] = _at(measured["contrast"], same, "contrast")
        for sigma, kept in at_high_noise.items():
            key = "r_distance_removed"
            best = _best_layer(_by_film(choosing, (sigma,))[key], key)
            kept[name] = _by_film(held_out, (sigma,))[key].sel(layer=best, drop=True)
            result[name][f"{key}_at_{sigma:g}"] = _at(_by_film(held_out, (sigma,))[key], best, key)
    if len(pipes) == 2:
        first, second = pipes
        for sigma, kept in at_high_noise.items():
            result[first][f"less_control_at_{sigma:g}"] = _with_interval(kept[first] - kept[second])
    return result
