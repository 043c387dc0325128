"""`attnscope dataset build FOLDER --out DIR`: clips of several shots out of films; go on where it stopped."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from attnscope._types import Document
from attnscope.cli._numbers import Jobs
from attnscope.cli._options import AsJson, Out
from attnscope.cli._output import print_json, print_table
from attnscope.cli.dataset._settings import read_chosen
from attnscope.metrics.scoring.workers import processors

if TYPE_CHECKING:
    from attnscope.dataset.estimates import Cost


def build_command(
    folder: Path,
    /,
    *,
    out: Out,
    caption: str = "none",
    caption_model: str = "",
    executor: Literal["process", "serial", "ray"] = "process",
    jobs: Jobs | None = None,
    config: Path | None = None,
    set: Annotated[list[str] | None, Parameter(negative="")] = None,
    as_json: AsJson = False,
) -> int:
    """Make clips of several shots out of a folder of films, with their exact shots.

    Films are split at their cuts, neighbours that look alike joined again, candidates screened, the frames of dissolves
    and fades taken out, clips cut at exact frames and checked, and captioned where somebody can. Everything that was
    decided stands in clips.parquet with its reason. A film that cannot be used is a row of sources.parquet, and the
    exit code is 1; the same command goes on where it stopped.

    Parameters
    ----------
    folder
        The films; searched to the bottom.
    out
        The dataset: clips, tables, manifest.csv for train, score and probe, and a card.
    caption
        What says what is seen: none, an address that speaks as OpenAI's does (http://127.0.0.1:8000/v1; its key in
        ATTNSCOPE_CAPTION_KEY), or a vision-language model on this machine, a folder or a name in the local cache.
    caption_model
        Which of its models an address is asked for; by default its first.
    executor
        Who does the work: processes of this machine, this process alone, or Ray. The rows are the same.
    jobs
        How many processes at a time; by default one for each processor.
    config
        A TOML file with a table [dataset].
    set
        One number of the build, "shortest_clip_s=4"; may be given several times.
    """
    import msgspec

    from attnscope.dataset.building import build_dataset
    from attnscope.dataset.captioning.choosing import NO_CAPTIONER
    from attnscope.dataset.estimates import estimate_cost
    from attnscope.dataset.sources import list_sources
    from attnscope.probing.progress import progress_bar

    settings = read_chosen(config, set or [])
    processes = 1 if executor == "serial" else jobs or processors()
    files = list_sources(folder)
    cost = estimate_cost(folder, files, settings, processes=processes, captions=caption != NO_CAPTIONER)
    _say_cost(cost)
    with progress_bar("building") as on_progress:
        built = build_dataset(
            folder,
            out,
            settings=settings,
            captioner=caption,
            captioner_model=caption_model,
            executor=executor,
            processes=processes,
            on_progress=on_progress,
        )
    facts = built.facts
    document: Document = {
        "sources": facts.num_sources,
        "clips": facts.num_clips,
        "failed": facts.num_failed,
        "candidates": facts.num_candidates,
        "dropped": facts.dropped,
        "captions": facts.captions,
        "seconds": round(built.took_s, 2),
        "out": str(out),
        "cost_estimate": msgspec.to_builtins(cost),
        "unjudged": facts.unjudged,
    }
    if as_json:
        print_json(document)
    else:
        _print(document, facts.num_shots)
    return 1 if facts.num_failed or facts.captions.get("failed") else 0


def _say_cost(cost: Cost) -> None:
    print(
        f"{cost.num_sources} films, {cost.hours_of_film:.2f} h: {cost.core_hours_least:.3g} core-hours if no candidate "
        f"survives, {cost.core_hours_most:.3g} if all do; up to {cost.seconds_most:.3g} s and "
        f"{cost.gigabytes_most:.2g} GB here",
        file=sys.stderr,
    )


def _print(document: Document, num_shots: int) -> None:
    print(
        f"{document['clips']} clips with {num_shots} shots out of {document['sources']} films "
        f"({document['failed']} failed), in {document['seconds']:.0f} s: {document['out']}"
    )
    if document["dropped"]:
        print_table("Candidates that were dropped", ("first reason", "number"), document["dropped"].items())
    if document["unjudged"]:
        print(f"no clip was chosen by how it looks: {document['unjudged']}")
