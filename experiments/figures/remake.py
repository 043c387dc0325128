"""Remake the figures whose data, script or drawing code changed since they were made; leave the others alone.

    python experiments/figures/remake.py STORE -o DIR [--compare STORE] [--sweep FOLDER]

DIR/made.json remembers what each figure was made from: a hash over the script, every file of the stores, and the
code of attnscope's statistics and figures. Figures that need what is not given are left out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import attnscope as scope

HERE = Path(__file__).parent
OF_A_STORE = ("maps", "profile", "atlas", "steps", "novelty")
OF_A_SWEEP = ("dose", "grid")
CODE = [Path(str(scope.__file__)).parent / room for room in ("plots", "structure")]


def files_of(places: Iterable[Path]) -> list[Path]:
    """Every file under some places, in an order that is always the same."""
    return sorted(
        path
        for place in places
        for path in ([place] if place.is_file() else place.rglob("*"))
        if path.is_file() and path.suffix != ".pyc"
    )


def digest_of(places: Iterable[Path]) -> str:
    """One hash over names and contents."""
    seen = hashlib.sha256()
    for path in files_of(places):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        seen.update(f"{path.name} {content}\n".encode())
    return seen.hexdigest()


def main() -> int:
    """Make what changed, say which; exit code 1 if a script failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", type=Path, help="what attnscope probe wrote")
    parser.add_argument("-o", "--out", type=Path, default=Path("figures"), help="folder for the figures")
    parser.add_argument("--compare", type=Path, help="a second store of the same prompts")
    parser.add_argument("--sweep", type=Path, help="what attnscope sweep wrote")
    chosen = parser.parse_args()
    wanted = {name: [chosen.store] for name in OF_A_STORE}
    wanted |= {"comparison": [chosen.store, chosen.compare]} if chosen.compare else {}
    wanted |= {name: [chosen.sweep] for name in OF_A_SWEEP} if chosen.sweep else {}
    record = chosen.out / "made.json"
    made = json.loads(record.read_text()) if record.is_file() else {}
    failed = 0
    for name, stores in wanted.items():
        script = HERE / f"{name}.py"
        digest = digest_of([script, HERE / "drawing.py", *stores, *CODE])
        if made.get(name) == digest and (chosen.out / f"{name}.pdf").is_file():
            continue
        command = [sys.executable, str(script), *map(str, stores), "-o", str(chosen.out)]
        if subprocess.run(command).returncode == 0:
            made[name] = digest
            record.write_text(json.dumps(made, indent=1, sort_keys=True) + "\n")
        else:
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
