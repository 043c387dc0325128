"""`attnscope dataset inspect DIR`: a page of the clips, to look at."""

from __future__ import annotations

from pathlib import Path

from attnscope.cli._numbers import Amount
from attnscope.cli._options import AsJson
from attnscope.cli._output import print_json


def inspect_command(
    folder: Path,
    /,
    *,
    films: Path | None = None,
    clips: Amount = 100,
    dropped: Amount = 200,
    out: Path | None = None,
    as_json: AsJson = False,
) -> None:
    """Draw a page of the clips: their shots, the frames taken out, scores and reasons.

    One HTML file that loads and runs nothing, inspect.html in the dataset.

    Parameters
    ----------
    folder
        The dataset.
    films
        Where the films lie; then the frames that were taken out are shown, too.
    clips
        How many clips are on the page.
    dropped
        How many dropped candidates are on it, with their reasons.
    out
        Another place for the page.
    """
    from attnscope.dataset.published.page import PAGE, write_page

    path = write_page(folder, out or folder / PAGE, films=films, most_clips=clips, most_dropped=dropped)
    if as_json:
        print_json({"dataset": str(folder), "page": str(path)})
    else:
        print(f"look at {path}")
