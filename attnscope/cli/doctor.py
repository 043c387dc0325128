"""`attnscope doctor`: what is installed, what this machine has, what will run."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

from attnscope.cli._options import AsJson
from attnscope.cli._output import print_json, print_table

_PACKAGES = (
    "attnscope", "torch", "triton", "diffusers", "transformers", "nnsight", "peft", "accelerate", "xarray", "zarr",
    "numpy", "scipy", "matplotlib", "plotly", "av", "jupyterlab",
)  # fmt: skip


def doctor_command(*, as_json: AsJson = False) -> None:
    """Say what is installed and which implementation will run here; paste this into a bug report."""
    import torch

    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "torch_cuda": torch.version.cuda,
        "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] or ["cpu"],
        "threads": torch.get_num_threads(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "implementations": {
            "frame mass (looking only)": _chosen(with_output=False),
            "frame mass with output": _chosen(with_output=True),
        },
    }
    if as_json:
        print_json(facts)
        return
    rows = [(name, str(value)) for name, value in facts.items() if not isinstance(value, dict)]
    rows += [(name, version or "not installed") for name, version in facts["packages"].items()]
    rows += list(facts["implementations"].items())
    print_table("attnscope doctor", ("what", "found"), rows)


def _chosen(*, with_output: bool) -> str:
    """Say which implementation of frame mass runs here at the size of Wan2.1 1.3B, 480p."""
    import torch

    from attnscope_kernels import select

    device = "cuda" if torch.cuda.is_available() else "cpu"
    choice = select(
        device=device, num_tokens=32_760, num_groups=21, with_output=with_output, needs_gradient=False
    )
    return f"{choice.name}: {choice.reason}"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
