"""What this machine has to run a model on: an accelerator or not, which one is this process's, how much memory."""

from __future__ import annotations

import os
from dataclasses import dataclass

from attnscope.errors import SetupError, quote

CPU = "cpu"


@dataclass(frozen=True)
class Machine:
    """The kind of accelerator there is (`cuda`, `mps`, ...; `cpu` where there is none) and how many."""

    kind: str
    count: int

    @property
    def has_accelerator(self) -> bool:
        """Whether there is anything but the processor."""
        return self.kind != CPU and self.count > 0


def find_machine() -> Machine:
    """Look what is here."""
    import torch

    if not torch.accelerator.is_available():
        return Machine(CPU, 1)
    current = torch.accelerator.current_accelerator()
    return Machine(CPU if current is None else current.type, torch.accelerator.device_count())


def local_rank() -> int:
    """Return which process of this machine this one is, as torchrun (LOCAL_RANK) and SLURM (SLURM_LOCALID) count."""
    for name in ("LOCAL_RANK", "SLURM_LOCALID"):
        text = os.environ.get(name, "")
        if text.isascii() and text.isdigit():
            return int(text)
    return 0


def choose_device(asked: str, machine: Machine) -> str:
    """Say where a model shall run: "auto" is the accelerator there is, of several the one of this process.

    Raises
    ------
    SetupError
        The machine has no such device.

    Examples
    --------
    >>> choose_device("auto", Machine("cpu", 1)), choose_device("auto", Machine("mps", 1))
    ('cpu', 'mps')
    >>> choose_device("cuda:1", Machine("cuda", 2))
    'cuda:1'
    """
    if asked == CPU or (asked == "auto" and not machine.has_accelerator):
        return CPU
    kind, _, index = (machine.kind if asked == "auto" else asked).partition(":")
    there = [f"{machine.kind}:{each}" for each in range(machine.count)] if machine.has_accelerator else []
    if kind != machine.kind or not there or (index and f"{kind}:{index}" not in there):
        raise SetupError(
            expected=f"a device of this machine ({', '.join(['cpu', *there])}) or auto",
            got=quote(asked),
            where="as device",
            remedy="name one of them",
        )
    if machine.count == 1 and not index:
        return kind
    return f"{kind}:{index or local_rank() % machine.count}"


def free_memory(device: str) -> int | None:
    """Return how many bytes are free on a device; None where nobody says."""
    import torch

    if device == CPU:
        return _free_ram()
    kind = torch.device(device)
    if kind.type == "cuda":
        return int(torch.cuda.mem_get_info(kind)[0])
    return None


def _free_ram() -> int | None:
    """What the kernel calls available, within what this container may use."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        return 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return None
