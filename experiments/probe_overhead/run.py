"""Measure how much longer a pipeline takes when it is probed; plain and probed runs alternate in one process.

    python experiments/probe_overhead/run.py [--runs 7] [--model wan-mini]

Exact frame mass, all layers, all heads, every step, both guidance branches; prints medians and their ratio as JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

import attnscope as scope

PROMPT = "One shot: a red ball, wide shot, blue and pink stripes, drifts left, static camera"


def timed(run: Callable[[], Any]) -> tuple[float, float]:
    """Wall-clock and processor seconds of one run."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    """Alternate plain and probed runs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="wan-mini")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    pipe = scope.load(arguments.model)
    pipe.set_progress_bar_config(disable=True)
    options = {"num_inference_steps": arguments.steps}

    def plain() -> None:
        pipe(PROMPT, generator=torch.Generator().manual_seed(0), output_type="latent", **options)

    def probed(branch: str) -> Callable[[], None]:
        return lambda: scope.probe(pipe, PROMPT, branch=branch, **options) and None

    kinds = {"plain": plain, "probed cond": probed("cond"), "probed cond,uncond": probed("cond,uncond")}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
    for run in kinds.values():
        run()
    for _ in range(arguments.runs):
        for name, run in kinds.items():
            times[name].append(timed(run))
    medians = {
        name: [statistics.median(column) for column in zip(*rows, strict=True)]
        for name, rows in times.items()
    }
    print(
        json.dumps(
            {
                "model": arguments.model,
                "runs": arguments.runs,
                "threads": torch.get_num_threads(),
                "machine": platform.machine(),
                "torch": torch.__version__,
                "wall_s": {name: round(value[0], 3) for name, value in medians.items()},
                "wall_ratio": {
                    name: round(value[0] / medians["plain"][0], 3) for name, value in medians.items()
                },
                "processor_ratio": {
                    name: round(value[1] / medians["plain"][1], 3) for name, value in medians.items()
                },
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
