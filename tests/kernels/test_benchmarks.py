"""The benchmark runs, says what it promises, and times nothing that is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from attnscope_kernels import gate

BENCHMARKS = Path(__file__).parents[2] / "kernels" / "benchmarks"
KEYS = {"op", "impl", "peer", "shape", "shots", "first_frame", "direction"}
KEYS |= {"ms", "peer_ms", "ratio", "peak_mib", "max_error"}


def run(*words):
    # in that process nothing is interpreted
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = str(BENCHMARKS.parent)
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / "run.py"), *words], capture_output=True, text=True, env=environment
    )


@pytest.mark.slow
def test_a_quick_run_prints_every_row_and_writes_nothing():
    before = {path: path.stat().st_mtime_ns for path in (BENCHMARKS / "results").iterdir()}
    done = run("--device", "cpu", "--quick", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    rows = document["rows"]
    assert document["device"] == "cpu"
    assert document["matmul_tflops"] > 0
    for row in rows:
        assert set(row) >= KEYS
        assert row["ratio"] == pytest.approx(row["ms"] / row["peer_ms"])
        assert 0 <= row["max_error"] < 1e-5
        assert row["peak_mib"] > 0
    assert {row["op"] for row in rows} == {"frame_mass", "shot_attention"}
    assert {row["direction"] for row in rows} == {"forward", "forward+backward"}
    assert {"sdpa", "sdpa, dense mask", "sdpa, per shot", "maps by head", "maps by frame"} <= {
        r["peer"] for r in rows
    }
    assert {path: path.stat().st_mtime_ns for path in (BENCHMARKS / "results").iterdir()} == before


def test_a_device_that_is_not_there_is_said_in_one_line():
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    done = run("--device", "cuda")
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "expected a CUDA device" in done.stderr


def test_the_gate_sees_a_path_that_is_wrong(monkeypatch):
    assert gate.find_faults("cpu", [torch.float32]) == []
    right = gate.shot_attention

    def off(*tensors, implementation, **rest):
        output = right(*tensors, implementation=implementation, **rest)
        return output if implementation == "reference" else output * 1.001

    monkeypatch.setattr(gate, "shot_attention", off)
    found = gate.find_faults("cpu", [torch.float32])
    assert any("split output off by" in fault.words for fault in found)
    assert {(fault.operation, fault.way) for fault in found} == {
        ("attention", "chunked"),
        ("attention", "split"),
        ("attention", "short"),
    }
