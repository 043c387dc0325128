"""Checkpoints of a run: weights, states of the optimiser, average and step, whole or not at all."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from attnscope.errors import InputError, quote
from attnscope.storage.disk import explain, remove_partial_files
from attnscope.training.cache import read_checked, write_checked

FOLDER = "checkpoints"
_NAME = re.compile(r"step-(\d{7})\.safetensors")


def save_checkpoint(
    run: Path,
    step: int,
    weights: Mapping[str, nn.Parameter],
    optimiser: torch.optim.Optimizer,
    average: Mapping[str, Tensor] | None,
    *,
    keep: int,
    is_main: bool = True,
) -> None:
    """Write the state after ``step`` updates, then remove all but the newest ``keep``.

    There is no state of a random generator in it: what a step draws follows from the seed and its number.

    Raises
    ------
    SetupError
        The disk is full; the checkpoints that are there stay good.
    """
    tensors, numbers = {}, {}
    for name, weight in weights.items():
        tensors[f"weight.{name}"] = whole(weight)
        if average is not None:
            tensors[f"average.{name}"] = whole(average[name])
        for key, value in optimiser.state.get(weight, {}).items():
            if isinstance(value, Tensor):
                tensors[f"{key}.{name}"] = whole(value)
            else:
                numbers[f"{key}.{name}"] = value
    if not is_main:  # every process takes part in bringing sharded weights together, one writes
        return
    folder = run / FOLDER
    with explain(folder):
        folder.mkdir(parents=True, exist_ok=True)
    facts = {"step": str(step), "numbers": json.dumps(numbers), "format": "pt"}
    write_checked(folder / f"step-{step:07d}.safetensors", tensors, facts)
    remove_partial_files(folder)
    for old in list_checkpoints(run)[keep:]:
        old.unlink(missing_ok=True)


def list_checkpoints(run: Path) -> list[Path]:
    """List the checkpoints of a run, the newest first."""
    found = [path for path in (run / FOLDER).glob("step-*.safetensors") if _NAME.fullmatch(path.name)]
    return sorted(found, reverse=True)


def last_good(run: Path) -> tuple[Path, dict[str, Tensor], dict[str, str]] | None:
    """Return the newest checkpoint that is as it was written; None where there is none.

    Raises
    ------
    InputError
        There are checkpoints, and all are damaged.
    """
    paths = list_checkpoints(run)
    for path in paths:
        try:
            return (path, *read_checked(path))
        except InputError:
            continue
    if paths:
        raise InputError(
            expected="a checkpoint as it was written",
            got=f"{len(paths)} damaged",
            where=f"in {run / FOLDER}",
            remedy="delete them and begin anew",
        )
    return None


@torch.no_grad()
def restore(
    state: tuple[Path, dict[str, Tensor], dict[str, str]],
    weights: Mapping[str, nn.Parameter],
    optimiser: torch.optim.Optimizer,
    average: dict[str, Tensor] | None,
) -> int:
    """Put a state back; returns the number of updates it has seen.

    Raises
    ------
    InputError
        It is the state of other weights.
    """
    path, tensors, facts = state
    theirs = {name.removeprefix("weight.") for name in tensors if name.startswith("weight.")}
    if theirs != set(weights):
        strange = sorted(theirs ^ set(weights))[0]
        raise InputError(
            expected=f"a checkpoint of the {len(weights)} weights that are trained",
            got=f"one that differs in {quote(strange)}",
            where=f"in {path}",
            remedy="resume with the recipe and the model of the run",
        )
    numbers = json.loads(facts["numbers"])
    for name, weight in weights.items():
        weight.copy_(like(tensors.pop(f"weight.{name}"), weight))
        if average is not None:
            average[name].copy_(like(tensors.pop(f"average.{name}"), weight))
    by_name: dict[str, dict[str, object]] = {}
    for key, value in (*tensors.items(), *numbers.items()):
        kind, name = key.split(".", 1)
        by_name.setdefault(name, {})[kind] = value
    for name, weight in weights.items():
        if name in by_name:
            optimiser.state[weight] = {
                kind: like(value, weight) if isinstance(value, Tensor) else value
                for kind, value in by_name[name].items()
            }
    return int(facts["step"])


def whole(value: Tensor) -> Tensor:
    """Return a tensor of which this process may hold a shard, as one on the CPU."""
    value = value.detach()
    full: Tensor = value.full_tensor() if hasattr(value, "full_tensor") else value
    return full.cpu()


def like(value: Tensor, weight: Tensor) -> Tensor:
    """Return a whole tensor placed and sharded as a weight is; a count (no dims) stays where optimisers keep it."""
    if not value.ndim:
        return value
    if hasattr(weight, "full_tensor"):
        from torch.distributed.tensor import DTensor, distribute_tensor

        assert isinstance(weight, DTensor)
        return distribute_tensor(value, weight.device_mesh, weight.placements)
    return value.to(weight.device)
