"""`attnscope reproduce`: a published study again, on any model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from attnscope._types import Document
from attnscope.cli._numbers import Count, NumFrames
from attnscope.cli._options import USUAL_LOADING, USUAL_SAMPLING, AsJson, Loading, Out, Sampling, Switch
from attnscope.cli._output import print_json, print_table
from attnscope.dataset import sample_scene
from attnscope.models import list_models
from attnscope.probing.share import Share
from attnscope.reproducing.paper import COLUMNS
from attnscope.reproducing.prompts import PACKAGED, ScriptedFilm, read_films

if TYPE_CHECKING:
    from attnscope.reproducing.cinetrans import Study

_QUICK = 4
_DRAWN = 40
_HELD_OUT_SEED = 20_000_000


def reproduce_command(
    study: str,
    /,
    *,
    out: Out,
    loading: Loading = USUAL_LOADING,
    prompts: Path | None = None,
    quick: Switch = False,
    films: Count | None = None,
    layers: str | None = None,
    num_frames: NumFrames | None = None,
    sampling: Sampling = USUAL_SAMPLING,
    as_json: AsJson = False,
) -> None:
    """Repeat what a paper reports, on any model: numbers beside the paper's, figures, one page.

    The only study is cinetrans: whether attention follows the shots, by layer and step; whether a mask cuts where it is
    told to, beside controls of equal sparsity from the same noise; scores beside the published ones. Every number says
    whether it can be compared with the paper's, and why not. Killed at any moment, the same command goes on and ends
    with the same page; started several times by torchrun it shares the films.

    Parameters
    ----------
    study
        cinetrans.
    prompts
        A JSON file with a list of {"general": ..., "captions": [...]}; by default a hundred that come with the package,
        for an embedded model prompts that it can read.
    quick
        Only the first films, enough to see that all of it works.
    films
        How many films; all by default.
    layers
        Where masks act; those of the paper by default, all where the model has fewer.
    num_frames
        Frames of a film; the pipeline's own default otherwise.
    """
    from attnscope.reproducing.cinetrans import reproduce_cinetrans, require_study

    require_study(study)
    asked = _build_study(loading.model, prompts, films or (_QUICK if quick else None))
    loading.require_layers(layers or "all")
    frames = {} if num_frames is None else {"num_frames": num_frames}
    pipe = loading.load({**frames, **sampling.given})
    from attnscope.probing.progress import progress_bar

    with progress_bar("reproducing") as on_progress:
        result = reproduce_cinetrans(
            pipe,
            asked,
            out,
            layers=layers,
            share=Share.from_environment(),
            on_progress=on_progress,
            say=lambda line: print(f"attnscope: {line}", file=sys.stderr),
            **sampling.arguments(),
            **frames,
        )
    if result is None:
        print(f"attnscope: this share is done; {out} is not complete yet", file=sys.stderr)
    elif as_json:
        print_json(result)
    else:
        _print(result, out)


def _build_study(model: str, prompts: Path | None, num_films: int | None) -> Study:
    from attnscope.reproducing.cinetrans import Study

    is_embedded = any(card.name == model for card in list_models())
    if prompts is None and is_embedded:
        drawn = tuple(_draw_film(number) for number in range(num_films or _DRAWN))
        return Study(model, drawn, "drawn, in the words of the embedded model", is_embedded=True)
    films = read_films(prompts or PACKAGED)
    source = "the packaged set" if prompts is None else prompts.name
    return Study(model, films[:num_films], source, is_embedded=is_embedded, is_packaged=prompts is None)


def _draw_film(number: int) -> ScriptedFilm:
    """A film that the embedded models can read: two or three shots of one subject, and its one-shot caption."""
    seed, num_shots = _HELD_OUT_SEED + number, 2 + number % 2
    scene = sample_scene(seed, num_shots=num_shots)
    captions = tuple(view.caption() for view in scene.views)
    return ScriptedFilm(scene.subject.caption(), captions, sample_scene(seed, num_shots=1).caption("none"))


def _print(result: Document, out: Path) -> None:
    observed = result["observation"]
    for kind, words in (
        ("asked", "cuts asked for"),
        ("found", f"cuts found by {observed['found']['detector']}"),
    ):
        numbers = observed[kind].get("numbers", {})
        rows = [(name, row["value"], row["null"], row["paper"]) for name, row in numbers.items()]
        num_films = observed[kind].get("num_films", 0)
        print_table(
            f"{words}: {num_films} films, {result['model']}", ("attention", "value", "null", "paper"), rows
        )
    lines = [(line["condition"], *(line[name]["mean"] for name in COLUMNS)) for line in result["scores"]]
    print_table("scores", ("condition", *COLUMNS), lines)
    print(f"not comparable with the paper: {'; '.join(result['reasons'])}")
    print(f"page      {out / 'page.html'}")
