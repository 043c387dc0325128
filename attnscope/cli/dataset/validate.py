"""`attnscope dataset validate DIR`: whether all that a dataset promises is there, and whole."""

from __future__ import annotations

from pathlib import Path

from attnscope.cli._options import AsJson
from attnscope.cli._output import print_json


def validate_command(folder: Path, /, *, decode: bool = True, as_json: AsJson = False) -> int:
    """Check a dataset: rows, files, checksums, frames; one line for each violation.

    Exit code 0 if nothing is wrong, 1 if something is, 2 if there is no dataset at all.

    Parameters
    ----------
    folder
        The dataset.
    decode
        Decode every clip and count its frames.
    """
    from attnscope.dataset.published.checking import validate_dataset
    from attnscope.dataset.published.facts import read_facts

    facts = read_facts(folder)
    found = validate_dataset(folder, decode=decode)
    if as_json:
        print_json(
            {"dataset": str(folder), "valid": not found, "clips": facts.num_clips, "violations": found}
        )
    else:
        for line in found:
            print(line)
        print(f"{folder}: " + (f"{len(found)} violations" if found else f"valid, {facts.num_clips} clips"))
    return 1 if found else 0
