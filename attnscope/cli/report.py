"""`attnscope report`: a store, two of them, or a folder of runs as one page that opens anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from attnscope.cli._options import AsJson, Out
from attnscope.cli._output import print_json
from attnscope.errors import InputError


def report_command(
    store: Path,
    /,
    *,
    out: Out,
    compare: Path | None = None,
    video: Annotated[tuple[Path, ...], Parameter(negative="", show_default=False)] = (),
    as_json: AsJson = False,
) -> None:
    """Write a store as one page: its numbers with their controls, every map, the films, where it comes from.

    The page opens offline in any browser. Of a folder of runs it is a table that sorts, with a map and a film strip of
    each.

    Parameters
    ----------
    store
        What attnscope probe wrote, its folder, or a folder of such folders.
    out
        The page to write, ending in .html.
    compare
        A second store, shown beside the first and as a difference.
    video
        The films of the store, in the order of its prompts; by default those that lie beside it.
    """
    from attnscope.exploring.report import write_report
    from attnscope.exploring.runs import write_runs
    from attnscope.storage import locate_store
    from attnscope.storage.copies import is_copy

    is_one = is_copy(store) or (locate_store(store) / "zarr.json").is_file()
    if not is_one and (compare is not None or video):
        raise InputError(
            expected="one store with --compare and --video",
            got=f"{str(store)!r}, which is none",
            where="on the command line",
            remedy="give the store, or leave them out",
        )
    films = list(video) or None
    written = write_report(store, out, compare=compare, video=films) if is_one else write_runs(store, out)
    if as_json:
        print_json({"report": str(written), "size_mb": round(written.stat().st_size / 1e6, 3)})
    else:
        print(written)
