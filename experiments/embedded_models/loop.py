"""What every training stage shares: a budget of steps, a schedule, a log, and a state that survives a kill."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file


class Budget:
    """Counts steps and processor time, over restarts too; ``progress`` runs from 0 to 1."""

    def __init__(self, steps: int, log: Path, every: int) -> None:
        self.steps, self.log, self.every = steps, log, every
        self.step, self._spent_s, self._since = 0, 0.0, time.process_time()
        self._sums: dict[str, float] = {}
        log.parent.mkdir(parents=True, exist_ok=True)

    @property
    def spent_s(self) -> float:
        """Processor seconds of training so far, earlier runs included."""
        return self._spent_s + time.process_time() - self._since

    @property
    def progress(self) -> float:
        """Share of the steps that is done."""
        return min(1.0, self.step / self.steps)

    def goes_on(self) -> bool:
        """Say whether a step is left."""
        return self.step < self.steps

    def schedule(self, *, warmup_steps: int, hold: float) -> float:
        """Learning-rate factor: linear warm-up over steps, constant, cosine to 2 % over the rest of the budget."""
        warm = min(1.0, (self.step + 1) / warmup_steps)
        fall = max(0.0, (self.progress - hold) / (1 - hold)) if hold < 1 else 0.0
        return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fall)))

    def record(self, **values: float) -> None:
        """Count a step; every so many steps write the means to the log."""
        self.step += 1
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        if self.step % self.every == 0:
            row = {name: total / self.every for name, total in self._sums.items()}
            with self.log.open("a") as file:
                file.write(json.dumps({"step": self.step, "spent_s": round(self.spent_s, 1), **row}) + "\n")
            self._sums = {}

    def state(self) -> dict[str, float]:
        """What ``restore`` needs."""
        return {"step": self.step, "spent_s": self.spent_s}

    def restore(self, state: Mapping[str, float]) -> None:
        """Go on where an earlier run stopped."""
        self.step, self._spent_s = int(state.get("step", 0)), float(state.get("spent_s", 0.0))
        self._since = time.process_time()


def _flatten(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    tensors = {}
    for index, entry in optimizer.state_dict()["state"].items():
        for name, value in entry.items():
            tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value)
    return tensors


def save_state(
    stem: Path,
    module: torch.nn.Module,
    optimizer: torch.optim.Optimizer | list[torch.optim.Optimizer],
    state: Mapping[str, Any],
    extra: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write weights, optimiser and counters to ``stem.safetensors``, whole or not at all."""
    tensors = {f"module.{name}": value for name, value in module.state_dict().items()}
    for i, each in enumerate(optimizer if isinstance(optimizer, list) else [optimizer]):
        tensors |= {f"{i}.{name}": value for name, value in _flatten(each).items()}
    tensors |= {f"extra.{name}": value for name, value in (extra or {}).items()}
    part = stem.with_suffix(".partial")
    save_file(
        {name: value.detach().contiguous().clone() for name, value in tensors.items()},
        part,
        {"state": json.dumps(dict(state))},
    )
    os.replace(part, stem.with_suffix(".safetensors"))


def load_state(
    stem: Path,
    module: torch.nn.Module,
    optimizer: torch.optim.Optimizer | list[torch.optim.Optimizer],
    extra: dict[str, torch.Tensor] | None = None,
) -> dict[str, Any]:
    """Read what ``save_state`` wrote into module and optimiser; an empty state where nothing was written."""
    path = stem.with_suffix(".safetensors")
    if not path.exists():
        return {}
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        state: dict[str, Any] = json.loads(file.metadata()["state"])
    module.load_state_dict({k[7:]: v for k, v in tensors.items() if k.startswith("module.")})
    for i, each in enumerate(optimizer if isinstance(optimizer, list) else [optimizer]):
        saved = each.state_dict()
        entries: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith(f"{i}.optimizer."):
                _, _, index, key = name.split(".")
                entries.setdefault(int(index), {})[key] = value
        each.load_state_dict({"state": entries, "param_groups": saved["param_groups"]})
    if extra is not None:
        extra |= {k[6:]: v for k, v in tensors.items() if k.startswith("extra.")}
    return state
