"""`attnscope reference build DIR`: how alike the shots of your own films are, as the yardstick of a gap."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from attnscope._types import Document
from attnscope.cli._numbers import Jobs
from attnscope.cli._options import AsJson, Out
from attnscope.cli._output import print_json, print_table
from attnscope.errors import InputError, quote
from attnscope.metrics.scoring.workers import processors
from attnscope.storage.disk import require_writable


def reference_command(
    action: Literal["build"],
    folder: Path,
    /,
    *,
    out: Out = Path("reference.json"),
    detector: Annotated[
        Literal["transnetv2", "content", "adaptive", "vote"], Parameter(help="What finds the cuts.")
    ] = "transnetv2",
    jobs: Jobs | None = None,
    as_json: AsJson = False,
) -> int:
    """Build a reference out of edited films: a few numbers for each film, no pixel of it.

    Films of one shot, and files that cannot be read, are left out and counted; the exit code is 1 if a file could not
    be read. The same command goes on where it stopped.

    Parameters
    ----------
    action
        What to do: build.
    folder
        A folder with films; searched to the bottom.
    out
        Where to write the reference.
    """
    _require_places(folder, out)

    from attnscope.metrics import references
    from attnscope.metrics.scoring import batches
    from attnscope.metrics.scoring.manifests import list_videos
    from attnscope.metrics.scoring.score import Settings
    from attnscope.probing.progress import progress_bar

    listed, settings, parts = list_videos([folder]), Settings(detector=detector), out.with_suffix(".parts")
    with progress_bar("scoring") as tell:
        rows = batches.score_videos(listed, settings, folder=parts, jobs=jobs or processors(), on_done=tell)
    reference = references.reference_of(rows)
    path = reference.write(out)
    failed = [{"file": row["file"], "error": row["error"]} for row in rows if row["status"] != "ok"]
    document = {
        "reference": str(path),
        "num_videos": reference.num_videos,
        "num_values": {name: len(values) for name, values in sorted(reference.values.items())},
        "encoders": dict(reference.encoders),
        "failed": failed,
    }
    if as_json:
        print_json(document)
    else:
        _say(document)
    return 1 if failed else 0


def _require_places(folder: Path, out: Path) -> None:
    if not folder.is_dir():
        raise InputError(
            expected="a folder of films",
            got=f"{quote(str(folder))}, which is none",
            where="in reference build",
            remedy="check the path",
        )
    if out.is_dir():
        raise InputError(
            expected="a file to write",
            got=f"the folder {quote(str(out))}",
            where="as --out",
            remedy="name a file",
        )
    require_writable(out, "file")


def _say(document: Document) -> None:
    encoders = document["encoders"]
    lines = [(name, number, encoders[name]) for name, number in document["num_values"].items()]
    print_table(f"Reference of {document['num_videos']} films", ("measure", "films", "encoder"), lines)
    for each in document["failed"]:
        print(f"failed  {each['file']}: {each['error']}")
    print(f"reference {document['reference']}")
