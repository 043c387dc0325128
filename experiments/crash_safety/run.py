"""Kill a probe at random moments; see whether committed steps stay and the resumed store is the undisturbed one.

    python experiments/crash_safety/run.py [--kills 50]

One process loads the model and forks; each child probes into the same store until it is killed with SIGKILL at a
random moment; after each kill the store is opened and checked, then the next child resumes. When a store is complete
it is compared byte for byte with an undisturbed one, and the next store begins. Prints what was found as JSON; exit
code 1 if a committed step was lost or a store differs. POSIX only.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import attnscope as scope
from attnscope.storage import Store, validate_store

OPTIONS: dict[str, Any] = {"layers": "7-28", "num_frames": 17, "num_inference_steps": 6, "seed": 3}
PROMPTS = ["One shot: a red ball", "One shot: a blue star"]


def chunks(path: Path) -> dict[str, bytes]:
    """Every chunk of a store."""
    return {str(f.relative_to(path)): f.read_bytes() for f in sorted(path.rglob("c*")) if f.is_file()}


def committed(path: Path) -> set[tuple[int, int]]:
    """Steps that the store says it holds."""
    if not path.exists():
        return set()
    store = Store.open(path)
    return {(p, s) for p in range(len(PROMPTS)) for s in store.header.steps if store.is_done(p, s)}


def run_and_kill(pipe: Any, path: Path, after_s: float) -> bool:
    """Probe in a child and kill it after a while; says whether it was killed before it ended."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            scope.probe(pipe, PROMPTS, out=path, **OPTIONS)
            code = 0
        finally:
            os._exit(code)  # whatever happens, the child must not go on as a second parent
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
        raise RuntimeError(f"a probe failed by itself while it was to be killed; its store is {path}")
    return os.WIFSIGNALED(status)


def trial(pipe: Any, kills: int, folder: Path) -> dict[str, Any]:
    """Kill that often; count what was lost."""
    import torch

    torch.set_num_threads(1)  # a forked child cannot use the parent's thread pool
    start = time.perf_counter()
    scope.probe(pipe, PROMPTS, out=folder / "whole.zarr", **OPTIONS)
    duration_s = time.perf_counter() - start
    truth = chunks(folder / "whole.zarr")
    rng = random.Random(0)
    found = {
        "kills": 0,
        "committed_steps_lost": 0,
        "invalid_stores": 0,
        "stores_completed": 0,
        "stores_that_differ": 0,
    }
    while found["kills"] < kills:
        path = folder / f"killed-{found['stores_completed']}.zarr"
        before = committed(path)
        found["kills"] += run_and_kill(pipe, path, rng.uniform(0.02, 0.9) * duration_s)
        after = committed(path)
        found["committed_steps_lost"] += len(before - after)
        found["invalid_stores"] += bool(path.exists() and validate_store(path))
        if len(after) == len(PROMPTS) * OPTIONS["num_inference_steps"]:
            finish(pipe, path, truth, found)
    if len(after) < len(PROMPTS) * OPTIONS["num_inference_steps"]:
        finish(pipe, path, truth, found)
    return found


def finish(pipe: Any, path: Path, truth: dict[str, bytes], found: dict[str, Any]) -> None:
    """Resume a store to its end in peace, and compare it with the undisturbed one."""
    scope.probe(pipe, PROMPTS, out=path, **OPTIONS)
    found["stores_completed"] += 1
    found["stores_that_differ"] += chunks(path) != truth


def main() -> int:
    """Run the trial in a temporary folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = trial(scope.load("wan-mini"), arguments.kills, Path(folder))
    print(json.dumps(found))
    return int(found["committed_steps_lost"] + found["stores_that_differ"] + found["invalid_stores"] > 0)


if __name__ == "__main__":
    sys.exit(main())
