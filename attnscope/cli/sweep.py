"""`attnscope sweep`: change the attention in one place after another, and see which change cuts the film."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from attnscope.cli._options import AsJson, Count, Finite, Jobs, Pixels, Seed, Steps
from attnscope.cli._output import print_json, print_table, progress_bar
from attnscope.dataset import sample_scene
from attnscope.errors import InputError, quote
from attnscope.shots import ShotPlan

if TYPE_CHECKING:
    import xarray as xr

_MEASURES = ("recall", "precision", "transition_control")


def sweep_command(
    over: Literal["layers", "heads", "steps", "strength", "jitter"],
    /,
    *,
    out: Path,
    model: str = "wan-mini",
    values: str | None = None,
    window: Count = 1,
    by_layer: bool = False,
    rule: str = "same_shot",
    layers: str = "7-28",
    prompt: str | None = None,
    shots: str | None = None,
    films: Count | None = None,
    seed: Seed = 0,
    seeds: Count = 1,
    processes: Jobs = 1,
    png: Path | None = None,
    num_inference_steps: Steps | None = None,
    height: Pixels | None = None,
    width: Pixels | None = None,
    guidance_scale: Finite | None = None,
    as_json: AsJson = False,
) -> None:
    """Change the attention in one place after another, and see which change cuts the film.

    Every film is made without a mask, with the mask in all layers that are named, and once for each value between.
    Killed at any moment, the same command goes on where it stopped.

    Parameters
    ----------
    over
        What differs: layers, heads or steps where the mask holds; its strength; how far its cuts jitter from layer to
        layer.
    out
        The folder to write to, or to go on in.
    model
        An embedded model, a diffusers folder, or a hub model owner/name.
    values
        The values, with semicolons between: "1-6;7-17;18-28", or "1;2;4". By default windows of --window labels, or
        usual numbers.
    window
        How many labels make one window.
    by_layer
        Over heads: each layer by itself, a grid of layers and heads.
    rule
        What the mask shows, in words, as "same_shot | first_frame".
    layers
        The layers of the whole mask.
    prompt
        What the films are about; by default one-shot captions that are drawn, another for each film.
    shots
        The shots of every film: "0-1.5s,1.5-3s". By default two shots in 49 frames, cut elsewhere in each film.
    films
        How many films; 4 by default, 1 with --prompt.
    seed
        Seed of the noise, and of the captions that are drawn.
    seeds
        How many seeds, from --seed on.
    processes
        How many processes share the films.
    png
        A picture to write, with a PDF beside it: a grid of cells and cuts, or a point for each value.
    num_inference_steps
        Denoising steps; the pipeline's own default otherwise.
    height
        Picture height in pixels.
    width
        Picture width in pixels.
    guidance_scale
        Strength of the prompt; the pipeline's own default otherwise.
    """
    if png is not None and (png.suffix.lower() != ".png" or not png.resolve().parent.is_dir()):
        raise InputError(
            expected="a .png file in a folder that is there",
            got=quote(str(png)),
            where="as --png",
            remedy="write --png effect.png",
        )
    prompts, plans = films_of(prompt, shots, films, seed)
    options = {
        "num_inference_steps": num_inference_steps, "height": height, "width": width,
        "guidance_scale": guidance_scale,
    }  # fmt: skip
    from attnscope.sweeping.sweep import sweep as make_films

    with progress_bar(f"sweep over {over}") as tell:
        swept = make_films(
            model, over, prompts, shots=plans, out=out, values=_values(values), window=window, by_layer=by_layer,
            rule=rule, layers=layers, seeds=range(seed, seed + seeds), processes=processes, on_film=tell,
            **{option: value for option, value in options.items() if value is not None},
        )  # fmt: skip
    document = {
        "folder": str(out), "over": over, "model": model, "rule": rule, "layers": layers, "num_films": len(prompts),
        "num_seeds": seeds, "cells": _cells(swept), "png": None if png is None else str(png),
    }  # fmt: skip
    if png is not None:
        _draw(swept, over, by_layer, png)
    if as_json:
        print_json(document)
    else:
        _say(document)


def films_of(
    prompt: str | None, shots: str | None, films: int | None, seed: int
) -> tuple[list[str], list[ShotPlan]]:
    """The prompts and plans of the films of a sweep, drawn where they were not given."""
    num_films = films or (4 if prompt is None else 1)
    prompts = [prompt or sample_scene(seed + film, num_shots=1).caption("none") for film in range(num_films)]
    return prompts, [_plan(shots, film) for film in range(num_films)]


def _values(text: str | None) -> list[str] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(";")]
    if not all(parts):
        raise InputError(
            expected="values with semicolons between",
            got=quote(text),
            where="as --values",
            remedy='write "1-6;7-17"',
        )
    return parts


def _plan(shots: str | None, film: int) -> ShotPlan:
    if shots is not None:
        return ShotPlan.from_spec(shots, fps=Fraction(16))
    return ShotPlan.from_latent_frames([1 + (3 + 5 * film) % 12], num_frames_latent=13, fps=16)


def _cells(swept: xr.Dataset) -> list[dict[str, Any]]:
    """What each cell came to: means with the range they would likely fall in for other prompts."""
    from attnscope.structure import causal_effect

    effects = {measure: causal_effect(swept, measure) for measure in _MEASURES}
    rows = []
    for place, name in enumerate(swept["cell"].values.tolist()):
        row: dict[str, Any] = {"cell": name}
        row |= {label: swept[label].values[place].item() for label in ("layers", "heads", "steps")}
        for measure, effect in effects.items():
            at = effect.isel(cell=place)
            row[measure] = float(at["mean"])
            row[f"{measure}_interval"] = [float(at["low"]), float(at["high"])]
        row["effect"] = float(effects["recall"]["effect"].values[place])
        row |= {name: int(swept[name].isel(cell=place).sum()) for name in ("num_detected", "num_matched")}
        rows.append(row)
    return rows


def _say(document: dict[str, Any]) -> None:
    columns = ("cell", "recall", "from", "to", "precision", "transition control", "effect on recall")
    print_table(
        f"Sweep over {document['over']}, {document['num_films']} films, {document['num_seeds']} seeds",
        columns,
        (
            (
                row["cell"], row["recall"], *row["recall_interval"], row["precision"], row["transition_control"],
                row["effect"],
            )
            for row in document["cells"]
        ),
    )  # fmt: skip


def _draw(swept: xr.Dataset, over: str, by_layer: bool, png: Path) -> None:
    from attnscope.plots import plot_effect_grid, plot_effects, save_figure
    from attnscope.structure import causal_effect, effect_grid

    if over == "heads" and by_layer:
        figure = plot_effect_grid(effect_grid(swept, rows="layers", columns="heads"))
    elif over in ("layers", "heads", "steps") and swept.sizes["prompt"] > 1:
        figure = plot_effect_grid(effect_grid(swept, rows="cell", columns="cuts_frame"))
    else:
        figure = plot_effects(causal_effect(swept))
    save_figure(figure, png.with_suffix(""))
