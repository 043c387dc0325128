"""`attnscope dataset calibrate FOLDER`: from which likeness on shots of these films are joined."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from attnscope.cli._options import AsJson
from attnscope.cli._output import print_json
from attnscope.cli.dataset._settings import read_chosen


def calibrate_command(
    folder: Path,
    /,
    *,
    config: Path | None = None,
    set: Annotated[list[str] | None, Parameter(negative="")] = None,
    as_json: AsJson = False,
) -> None:
    """Fit to your own films from which likeness on neighbouring shots are joined.

    Cuts within a film are taken for joins, the end of one film and the beginning of another for strangers: give
    films of one scene each. The number goes to a build as --set join_likeness=...

    Parameters
    ----------
    folder
        The films; searched to the bottom.
    config
        A TOML file with a table [dataset].
    set
        One number of the build, "shortest_shot_s=1"; may be given several times.
    """
    from attnscope.dataset.calibrating import calibrate

    found = calibrate(folder, read_chosen(config, set or []))
    if as_json:
        print_json(asdict(found))
        return
    print(
        f"--set join_likeness={found.join_likeness:.3f}   keeps {found.joins_kept:.1%} of {found.num_joins} joins, "
        f"joins {found.strangers_joined:.1%} of {found.num_strangers} strangers; AUC {found.auc:.3f}"
    )
    if found.num_failed:
        print(f"{found.num_failed} films could not be read")
