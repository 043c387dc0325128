"""Every kernel compiles for Hopper and Ampere without a GPU, within what a card has and without spilling."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
ROOT = Path(__file__).parents[2]
# Shared memory that one program may have, and registers that one thread may have.
SHARED_BYTES = {"sm_90": 227 * 1024, "sm_80": 163 * 1024}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Triton has no wheel elsewhere")
def test_every_kernel_compiles_within_bounds(tmp_path):
    # a process of its own: in this one kernels may be interpreted
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [
        sys.executable,
        "kernels/benchmarks/resources.py",
        "--json",
        "--out",
        str(tmp_path / "found.json"),
    ]
    run = subprocess.run(
        command, cwd=ROOT, env=environment | {"PYTHONPATH": "kernels"}, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    rows = json.loads(run.stdout)["rows"]
    assert json.loads((tmp_path / "found.json").read_text())["rows"] == rows
    recorded = json.loads((ROOT / "kernels/benchmarks/results/resources.json").read_text())["rows"]
    keys = ("kernel", "dtype", "head_size", "arch")
    assert [[row[key] for key in keys] for row in rows] == [[row[key] for key in keys] for row in recorded]
    kernels = {row["kernel"].split()[0] for row in rows}
    assert kernels == {"forward", "backward_query", "backward_key", "second_pass", "mean_over_tokens"}
    for row in rows:
        assert row["stack_bytes"] == 0, row
        assert row["spill_instructions"] == 0, row
        assert row["registers"] <= 255, row
        assert row["shared_bytes"] <= SHARED_BYTES[row["arch"]], row
        multiplies = row["kernel"] != "mean_over_tokens" and row["dtype"] != "fp32"
        assert (row["tensor_core_instructions"] > 0) == multiplies, row
