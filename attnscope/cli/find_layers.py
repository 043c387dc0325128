"""`attnscope find-layers`: search for the fewest layers, or heads, with which a mask still cuts."""

from __future__ import annotations

from typing import Literal

from attnscope._types import Document
from attnscope.cli._numbers import Amount, Finite
from attnscope.cli._options import (
    USUAL_FILMS,
    USUAL_LOADING,
    USUAL_SAMPLING,
    AsJson,
    Films,
    Loading,
    Out,
    Sampling,
)
from attnscope.cli._output import print_json, print_table


def find_layers_command(
    *,
    out: Out,
    loading: Loading = USUAL_LOADING,
    over: Literal["layers", "heads"] = "layers",
    layers: str = "all",
    keep: Finite = 0.95,
    measure: Literal["transition_control", "recall"] = "transition_control",
    held_out: Amount | None = None,
    films: Films = USUAL_FILMS,
    sampling: Sampling = USUAL_SAMPLING,
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
    over
        What is searched: layers, or heads, which are then the same in all layers that are named.
    layers
        The layers to begin with.
    keep
        Which share of the whole set's measure must be left, above 0 and up to 1.
    measure
        What must be left: transition_control counts cuts, recall asks for their place, too.
    held_out
        So many of the films take no part in the search, half of them if nothing is said: what is found is measured on
        those, since it flatters itself on the films that it was found on.
    """
    from attnscope.probing.progress import progress_bar
    from attnscope.sweeping.find_layers import find_layers as search

    loading.require_layers(layers)
    with progress_bar(f"the fewest {over}") as tell:
        found = search(
            loading.model,
            out=out,
            layers=layers,
            over=over,
            keep=keep,
            measure=measure,
            held_out=held_out,
            on_film=tell,
            loading=loading.settings_for({**films.frames_for(loading.model), **sampling.given}),
            **films.settings_for(loading.model),
            **sampling.arguments(),
        )
    document = {
        "folder": str(out),
        "over": over,
        "model": loading.model,
        "rule": films.rule,
        "layers": layers,
        "keep": keep,
        "measure": measure,
        "num_films": films.num_films,
        "num_held_out": found.num_held_out,
        "num_seeds": films.seeds,
        "found": found.layers,
        "score": found.score,
        "full_score": found.full_score,
        "searched_score": found.searched_score,
        "trail": [{over: tried, "score": score} for tried, score in found.trail],
    }
    if as_json:
        print_json(document)
    else:
        _say(document)


def _say(document: Document) -> None:
    over, measure = document["over"], document["measure"].replace("_", " ")
    searched = document["num_films"] - document["num_held_out"]
    print_table(
        f"Tried over {searched} films, {document['num_seeds']} seeds",
        (over, measure),
        (tuple(tried.values()) for tried in document["trail"]),
    )
    print(
        f"found {over} {document['found']}: {measure} {document['searched_score']:.2f} on the films of the search"
    )
    if document["score"] is None:
        print("no film was held out: with more films, what was found is measured on others")
    else:
        print(
            f"on {document['num_held_out']} other films: {measure} {document['score']:.2f}, "
            f"with all {document['full_score']:.2f}"
        )
