"""Measure frame mass and shot attention beside their peers, after checking that they are right.

    python kernels/benchmarks/run.py [--device cpu|cuda] [--quick] [--json]

First every implementation is compared with the definition at a small size; if one is wrong, nothing is timed. Then
ours and the peers run in turn in this one process, on the same tensors. Writes results/<device>.json beside this
file (not with --quick), from which report.py draws the table and the picture of kernels/README.md.
"""

from __future__ import annotations

import argparse
import functools
import json
import platform
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from cases import CPU, CUDA, QUICK, Plan, Shape, plans
from measuring import mass_error, matmul_tflops, output_error, peak_mib, time_together
from peers import maps_by_frame, maps_by_head, peers_with_rule, peers_without_rule
from torch import Tensor

from attnscope_kernels import find_faults, frame_mass, sampled_frame_mass, shot_attention

HERE = Path(__file__).parent
# On a CPU the backward of the largest shape would take longer than all else together.
CPU_BACKWARD_FLOP = 5e10
Tensors = tuple[Tensor, Tensor, Tensor]
# The same work in the same run, so that a ratio means something: (what ran, what it gave).
Candidates = dict[str, Callable[[], object]]


def mass_ways(device: str, shape: Shape, tensors: Tensors) -> Candidates:
    """Ours: every implementation of the frame mass, with the output."""
    grouped = {"query_offsets": shape.offsets, "key_offsets": shape.offsets, "num_places": shape.batch}
    names = ["auto", "chunked"] if shape.tokens_a_frame == 1 else ["auto", "chunked", "split"]
    if device == "cuda" and shape.tokens_a_frame > 1:
        names += ["kernel", "second_pass"]
    ways: Candidates = {
        f"frame_mass {name}": functools.partial(frame_mass, *tensors, **grouped, implementation=name)
        for name in names
    }
    if shape.tokens_a_frame >= 128:

        def sampled() -> object:
            mass = sampled_frame_mass(
                *tensors[:2], query_offsets=shape.offsets, key_offsets=shape.offsets
            ).mass
            return dict(peers_without_rule(device))["sdpa"](*tensors), mass

        ways["sampled 1/8 + sdpa"] = sampled
    return ways


def mass_rows(device: str, shape: Shape, dtype: torch.dtype, repeats: int) -> Iterator[dict[str, object]]:
    """Rows of the frame mass against plain attention and against maps that are built."""
    tensors = shape.draw(device, dtype)
    ours = mass_ways(device, shape, tensors)
    theirs: Candidates = {
        name: functools.partial(peer, *tensors) for name, peer in peers_without_rule(device)
    }
    if shape.batch == 1:
        theirs["maps by head"] = lambda: maps_by_head(*tensors, shape)
        theirs["maps by frame"] = lambda: maps_by_frame(*tensors, shape)
    errors = {}
    for name, run in ours.items():
        output, *_, mass = run()
        # a sample is not exact: its error is told by itself and is not one of rounding
        errors[name] = max(
            output_error(output, tensors, shape, Plan(1, False).visible_pairs(shape.frames)),
            0.0 if "sampled" in name else mass_error(mass, tensors, shape),
        )
    yield from compare("frame_mass", ours, theirs, errors, device, repeats, shape=shape, direction="forward")


def attention_rows(
    device: str, shape: Shape, dtype: torch.dtype, repeats: int, plan: Plan, backward: bool, flex: bool
) -> Iterator[dict[str, object]]:
    """Rows of shot attention under one plan, forward or forward and backward."""
    tensors = shape.draw(device, dtype)
    seen = plan.visible_pairs(shape.frames)
    grouped = {"query_offsets": shape.offsets, "key_offsets": shape.offsets}
    # on a CPU there is one way, which auto takes
    has_kernel = device == "cuda" and shape.tokens_a_frame > 1
    names = ["auto", "split", "kernel"] if has_kernel else ["auto"]
    calls: dict[str, Callable[..., Tensor]] = {
        f"shot_attention {name}": functools.partial(
            shot_attention, relation=seen, implementation=name, **grouped
        )
        for name in names
    }
    peers = dict(peers_without_rule(device)) | dict(peers_with_rule(device, shape, plan, flex))
    errors = {name: output_error(call(*tensors), tensors, shape, seen) for name, call in calls.items()}
    wrap = _with_backward if backward else functools.partial
    ours: Candidates = {name: wrap(call, *tensors) for name, call in calls.items()}
    theirs: Candidates = {name: wrap(peer, *tensors) for name, peer in peers.items()}
    direction = "forward+backward" if backward else "forward"
    what = {"shape": shape, "plan": plan, "direction": direction}
    yield from compare("shot_attention", ours, theirs, errors, device, repeats, **what)


def _with_backward(call: Callable[..., Tensor], *tensors: Tensor) -> Callable[[], None]:
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]

    def run() -> None:
        output = call(*leaves)
        torch.autograd.grad(output, leaves, torch.ones_like(output))

    return run


def compare(
    op: str,
    ours: Candidates,
    theirs: Candidates,
    errors: dict[str, float],
    device: str,
    repeats: int,
    *,
    shape: Shape,
    direction: str,
    plan: Plan | None = None,
) -> Iterator[dict[str, object]]:
    """Time everything together; a row for each of ours and each peer that runs here."""
    theirs, refused = _drop_unable(theirs)
    timings = time_together(ours | theirs, device, repeats)
    peaks = {name: peak_mib(run, device) for name, run in (ours | theirs).items()}
    plain = [name for name in theirs if name.startswith(("sdpa", "flash")) and "," not in name]
    fastest = min(plain, key=lambda name: timings[name].ms)
    flop = shape.flop * (3.5 if "backward" in direction else 1.0)
    fraction = 1.0 if plan is None else float(plan.visible_pairs(shape.frames).float().mean())
    for name in ours:
        for peer in theirs:
            yield {
                "op": op,
                "impl": name,
                "peer": peer,
                "is_fastest_plain": peer == fastest,
                "shape": shape.name,
                "shots": 1 if plan is None else plan.num_shots,
                "first_frame": plan is not None and plan.first_frame,
                "direction": direction,
                "visible_fraction": fraction,
                "ms": timings[name].ms,
                "spread_ms": timings[name].spread_ms,
                "peer_ms": timings[peer].ms,
                "ratio": timings[name].ms / timings[peer].ms,
                "peak_mib": peaks[name],
                "peer_peak_mib": peaks[peer],
                "max_error": errors[name],
                "tflops": fraction * flop / timings[name].ms / 1e9,
                "peers_refused": refused,
            }


def _drop_unable(theirs: Candidates) -> tuple[Candidates, dict[str, str]]:
    """Leave out peers that cannot do this shape, type or direction, and say why."""
    able, refused = {}, {}
    for name, run in theirs.items():
        try:
            run()
        except (RuntimeError, NotImplementedError, ValueError, torch.OutOfMemoryError) as error:
            refused[name] = str(error).splitlines()[0][:200]
        else:
            able[name] = run
    return able, refused


def rows(device: str, quick: bool, only: str) -> Iterator[dict[str, object]]:
    """Everything there is to measure on this device, of shapes with these words in their name."""
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    repeats = 3 if quick else (20 if device == "cuda" else 5)
    for shape in QUICK if quick else (CUDA if device == "cuda" else CPU):
        if only not in shape.name:
            continue
        yield from mass_rows(device, shape, dtype, repeats)
        for plan in plans(shape.frames):
            if quick and plan.num_shots not in (1, 2):
                continue
            for backward in (False, True):
                if backward and device == "cpu" and shape.flop > CPU_BACKWARD_FLOP:
                    continue
                # compiling FlexAttention on a CPU takes longer than all else, and it has no backward there
                compiles = not quick and not backward and shape.tokens > 5000 and plan == Plan(2, False)
                flex = device == "cuda" or compiles
                yield from attention_rows(device, shape, dtype, repeats, plan, backward, flex)


def machine(device: str) -> dict[str, Any]:
    """What it ran on."""
    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    return {
        "device": device,
        "device_name": name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "triton": version("triton") if device == "cuda" else None,
        "python": platform.python_version(),
    }


def main() -> None:
    """Check, measure, write, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu"
    )
    parser.add_argument("--quick", action="store_true", help="small shapes, few repeats, nothing written")
    parser.add_argument(
        "--only", default="", help="shapes with this in their name; other rows of results stay"
    )
    parser.add_argument("--json", action="store_true", help="print one document instead of lines")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("run.py: expected a CUDA device, found none on this machine; use --device cpu", file=sys.stderr)
        sys.exit(3)
    failures = [fault.words for fault in find_faults(arguments.device)]
    if failures:
        print(
            f"run.py: expected every path to equal its definition, got {'; '.join(failures)}", file=sys.stderr
        )
        sys.exit(1)
    dtype = torch.bfloat16 if arguments.device == "cuda" else torch.float32
    document = machine(arguments.device) | {
        "matmul_tflops": matmul_tflops(arguments.device, dtype),
        "rows": [],
    }
    path = HERE / "results" / f"{arguments.device}.json"
    if arguments.only and path.exists():
        kept = json.loads(path.read_text())["rows"]
        document["rows"] = [row for row in kept if arguments.only not in row["shape"]]
    for row in rows(arguments.device, arguments.quick, arguments.only):
        document["rows"].append(row)
        if not arguments.json:
            first = " + first frame" if row["first_frame"] else ""
            print(
                f"{row['shape']}, {row['shots']} shots{first}, {row['direction']}: {row['impl']} {row['ms']:.2f} ms, "
                f"{row['ratio']:.2f} x {row['peer']}, error {row['max_error']:.0e}",
                flush=True,
            )
        if not arguments.quick:
            # kept after every row: a run that is cut off leaves what it measured
            path.write_text(json.dumps(document, indent=1) + "\n")
    if arguments.json:
        print(json.dumps(document))


if __name__ == "__main__":
    main()
