"""`attnscope structure STORE`: the statistics of a store, without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from attnscope._types import Document
from attnscope.cli._options import AsJson
from attnscope.cli._output import print_json
from attnscope.cli._report import print_summary


def structure_command(
    store: Path,
    /,
    *,
    branch: Annotated[str, Parameter(help="Guidance branch to measure.")] = "cond",
    as_json: AsJson = False,
) -> None:
    """Measure how strongly attention in a store follows the shots.

    Parameters
    ----------
    store
        The store, or the folder of a run that holds it; it may be unfinished.
    """
    from attnscope.storage import open_store
    from attnscope.structure.headline import measure

    dataset = open_store(store)
    summary: Document = {
        "store": str(store),
        "num_steps_done": int(dataset.done.sum()),
        "num_steps": int(dataset.done.size),
        **measure(dataset, branch=branch),
    }
    if as_json:
        print_json(summary)
    else:
        print_summary(summary)
