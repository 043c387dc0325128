"""Measure what hook points cost while nobody listens, and what a trace costs; all ways alternate in one process.

    python experiments/hook_overhead/run.py [--runs 40] [--model wan-mini] [--device cuda]

Processor seconds of the whole generation (on a GPU the clock, waiting for it), medians, and the ratio to the pipeline
without taps; prints JSON.
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

PROMPT = "One shot: a red ball"
SIZE = {"height": 64, "width": 64, "num_frames": 17, "output_type": "latent"}


def seconds(run: Callable[[], Any], device: str) -> float:
    """Seconds of one run: of the processor, or by the clock until a GPU is done."""
    if device == "cpu":
        start = time.process_time()
        run()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    """Alternate plain, attached, and traced runs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="wan-mini")
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pipe = scope.load(arguments.model).to(arguments.device)
    pipe.set_progress_bar_config(disable=True)

    def plain(run: Any = pipe) -> Any:
        return run(
            PROMPT, generator=torch.Generator().manual_seed(0), num_inference_steps=arguments.steps, **SIZE
        )

    times: dict[str, list[float]] = {
        "plain": [],
        "attached, nobody listens": [],
        "traced, one point read": [],
    }
    for index in range(arguments.runs + 1):
        rows = [seconds(plain, arguments.device)]
        with scope.attach(pipe) as attachment:
            rows.append(seconds(plain, arguments.device))
            model = scope.nnsight(attachment)

            def traced(model: Any = model) -> None:
                settings = {
                    "generator": torch.Generator().manual_seed(0),
                    "num_inference_steps": arguments.steps,
                }
                with model.trace(PROMPT, **settings, **SIZE):
                    model.blocks[0].attn.hook_q.output.save()

            rows.append(seconds(traced, arguments.device))
        if index:  # the first round warms up
            for name, value in zip(times, rows, strict=True):
                times[name].append(value)
    base = times["plain"]
    machine = torch.cuda.get_device_name() if arguments.device == "cuda" else platform.machine()
    print(
        json.dumps(
            {
                "model": arguments.model,
                "runs": arguments.runs,
                "steps": arguments.steps,
                "machine": machine,
                "torch": torch.__version__,
                "median_s": {name: round(statistics.median(row), 4) for name, row in times.items()},
                "ratio": {
                    name: round(statistics.median(a / b for a, b in zip(row, base, strict=True)), 4)
                    for name, row in times.items()
                },
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
