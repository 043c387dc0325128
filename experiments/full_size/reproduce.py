"""Repeat the study of CineTrans in small on a published model at its full size, random weights, on a CPU within 20 GiB.

    python experiments/full_size/reproduce.py [--model wan2.1-1.3b] [--out runs/full_size/reproduce]

One film of the packaged prompts, two denoising steps, 17 frames of 96 x 96: observation, all conditions, scores, page.
What is asked is whether it ends and what that takes; its numbers are those of noise, and say so. Killed, it goes on.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sys
import time
from pathlib import Path

import torch

import attnscope as scope
from attnscope.reproducing.cinetrans import Study, reproduce_cinetrans
from attnscope.reproducing.prompts import PACKAGED, read_films

HERE = Path(__file__).parent
SMALL = {"num_frames": 17, "height": 96, "width": 96, "num_inference_steps": 2}
LIMIT_GIB = 20


def main() -> None:
    """Run once and write what it took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="wan2.1-1.3b")
    parser.add_argument("--films", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/full_size/reproduce"))
    parser.add_argument("--results", type=Path, default=HERE / "reproduced.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    pipe = scope.testing.full(given.model, dtype="bf16")
    study = Study(given.model, read_films(PACKAGED)[: given.films], "the packaged set", is_packaged=True)
    began = time.process_time()
    result = reproduce_cinetrans(pipe, study, given.out, say=lambda line: print(line, flush=True), **SMALL)
    assert result is not None, "one process has all the films"
    found = {
        "model": given.model,
        "machine": platform.machine(),
        "torch": torch.__version__,
        "arguments": SMALL,
        "num_films": given.films,
        "conditions": [line["condition"] for line in result["scores"]],
        "not_comparable": result["reasons"],
        "processor_s": time.process_time() - began,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "page": (given.out / "page.html").is_file(),
    }
    given.results.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))
    if not found["page"] or not found["not_comparable"] or found["peak_gib"] > LIMIT_GIB:
        print(f"reproduce.py: expected a page, reasons, and {LIMIT_GIB} GiB at most", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
