"""`attnscope validate STORE`: whether every number that a store promises is there, and whole."""

from __future__ import annotations

from pathlib import Path

from attnscope.cli._options import AsJson
from attnscope.cli._output import print_json


def validate_command(store: Path, /, *, as_json: AsJson = False) -> int:
    """Check a store: schema, checksums of every chunk, row sums, finiteness; one line for each violation.

    Exit code 0 if nothing is wrong, 1 if something is, 2 if there is no store at all.

    Parameters
    ----------
    store
        The store, or the folder of a run that holds it.
    """
    from attnscope.storage import Store, locate_store, require_store, validate_store

    store = locate_store(store)
    require_store(store)
    violations = validate_store(store)
    done, total = (None, None) if violations else Store.open(store).progress()
    if as_json:
        found = {"store": str(store), "valid": not violations, "violations": violations}
        print_json({**found, "num_steps_done": done, "num_steps": total})
    else:
        for line in violations:
            print(line)
        unfinished = "" if done == total else f", unfinished: {done} of {total} steps"
        print(f"{store}: " + (f"{len(violations)} violations" if violations else f"valid{unfinished}"))
    return 1 if violations else 0
