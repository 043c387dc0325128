"""`attnscope dataset stats DIR`: what is in a dataset."""

from __future__ import annotations

from pathlib import Path

from attnscope.cli._options import AsJson
from attnscope.cli._output import print_json, print_table


def stats_command(folder: Path, /, *, as_json: AsJson = False) -> None:
    """Say what is in a dataset: clips, shots, lengths, and why candidates were dropped.

    Parameters
    ----------
    folder
        The dataset.
    """
    from attnscope.dataset.published.facts import read_facts, show_facts

    facts = read_facts(folder)
    document = show_facts(facts)
    if as_json:
        print_json(document)
        return
    numbers = [
        (name.replace("_", " "), value) for name, value in document.items() if isinstance(value, int | float)
    ]
    print_table(
        str(folder), ("what", "number"), [(name.removeprefix("num "), value) for name, value in numbers]
    )
    print_table("Clips by shots", ("shots", "clips"), facts.clips_by_shots.items())
    print_table("Captions", ("state", "clips"), facts.captions.items())
    print_table("Candidates that were dropped", ("first reason", "number"), facts.dropped.items())
    if facts.unjudged:
        print(f"no clip was chosen by how it looks: {facts.unjudged}")
