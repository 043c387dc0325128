"""`attnscope dataset export PLACE --form FORM --out DIR`: a dataset in another form, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from attnscope.cli._options import AsJson
from attnscope.cli._output import print_json


def export_command(
    place: Path,
    /,
    *,
    form: Literal["webdataset", "cine250k", "dataset"],
    out: Path,
    as_json: AsJson = False,
) -> None:
    """Write a dataset in another form, or make one again out of that form.

    Parameters
    ----------
    place
        A dataset; with --form dataset a folder of archives (*.tar), or a file of the paper's labels, whose clips lie in
        --out.
    form
        webdataset: archives of clips with their rows; cine250k: the paper's labels, frames from 1 and both ends
        included; dataset: back again.
    out
        Where it goes.
    """
    from attnscope.dataset.published.converting import convert

    written = convert(place, out, form)
    if as_json:
        print_json({"form": form, "files": [str(path) for path in written]})
    else:
        for path in written:
            print(path)
