"""`attnscope find-layers`: search for the fewest layers, or heads, with which a mask still cuts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from attnscope.cli._options import AsJson, Count, Finite, Jobs, Pixels, Seed, Steps
from attnscope.cli._output import print_json, print_table, progress_bar
from attnscope.cli.sweep import films_of


def find_layers_command(
    *,
    out: Path,
    model: str = "wan-mini",
    over: Literal["layers", "heads"] = "layers",
    layers: str = "all",
    keep: Finite = 0.95,
    measure: Literal["transition_control", "recall"] = "transition_control",
    rule: str = "same_shot",
    prompt: str | None = None,
    shots: str | None = None,
    films: Count | None = None,
    seed: Seed = 0,
    seeds: Count = 1,
    processes: Jobs = 1,
    num_inference_steps: Steps | None = None,
    height: Pixels | None = None,
    width: Pixels | None = None,
    guidance_scale: Finite | None = None,
    as_json: AsJson = False,
) -> None:
    """Search for the fewest layers, or heads, with which a mask still cuts.

    Parts of the layers are left out or kept alone while films are cut nearly as well as with all of them. No single one
    can be left out of what is found; a smaller set may exist elsewhere, and with few films the answer depends on them.
    Killed at any moment, the same command goes on where it stopped.

    Parameters
    ----------
    out
        The folder to write to, or to go on in; that of a sweep over the same films will do.
    model
        An embedded model, a diffusers folder, or a hub model owner/name.
    over
        What is searched: layers, or heads, which are then the same in all layers that are named.
    layers
        The layers to begin with.
    keep
        Which share of the whole set's measure must be left, above 0 and up to 1.
    measure
        What must be left: transition_control counts cuts, recall asks for their place, too.
    rule
        What the mask shows, in words, as "same_shot | first_frame".
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
    num_inference_steps
        Denoising steps; the pipeline's own default otherwise.
    height
        Picture height in pixels.
    width
        Picture width in pixels.
    guidance_scale
        Strength of the prompt; the pipeline's own default otherwise.
    """
    prompts, plans = films_of(prompt, shots, films, seed)
    options = {
        "num_inference_steps": num_inference_steps, "height": height, "width": width,
        "guidance_scale": guidance_scale,
    }  # fmt: skip
    from attnscope.sweeping.find_layers import find_layers as search

    with progress_bar(f"the fewest {over}") as tell:
        found = search(
            model, prompts, shots=plans, out=out, layers=layers, over=over, keep=keep, measure=measure, rule=rule,
            seeds=range(seed, seed + seeds), processes=processes, on_film=tell,
            **{option: value for option, value in options.items() if value is not None},
        )  # fmt: skip
    document = {
        "folder": str(out), "over": over, "model": model, "rule": rule, "layers": layers, "keep": keep,
        "measure": measure, "num_films": len(prompts), "num_seeds": seeds, "found": found.layers,
        "score": found.score, "full_score": found.full_score,
        "trail": [{over: tried, "score": score} for tried, score in found.trail],
    }  # fmt: skip
    if as_json:
        print_json(document)
    else:
        _say(document)


def _say(document: dict[str, Any]) -> None:
    over, measure = document["over"], document["measure"].replace("_", " ")
    print_table(
        f"Tried over {document['num_films']} films, {document['num_seeds']} seeds",
        (over, measure),
        (tuple(tried.values()) for tried in document["trail"]),
    )
    print(
        f"found {over} {document['found']}: {measure} {document['score']:.2f}, with all {document['full_score']:.2f}"
    )
