"""What a run tells of itself: a line a step on disk, a bar on the terminal, curves for TensorBoard."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from attnscope._types import Document
from attnscope.errors import SetupError
from attnscope.probing.progress import is_quiet
from attnscope.storage.disk import explain, write_durably

if TYPE_CHECKING:
    import torch

LOG = "log.jsonl"


class Journal:
    """Writes down every step; lines of steps that a killed run had made beyond its checkpoint are taken out first.

    ``name`` is the file's, beside which nothing else of the run stands.
    """

    def __init__(self, folder: Path, name: str, first_step: int) -> None:
        self.path = folder / name
        lines = [line for line in read_lines(self.path) if line["step"] <= first_step]
        write_durably(self.path, "".join(json.dumps(line) + "\n" for line in lines).encode())

    def write(self, line: Mapping[str, object]) -> None:
        """Add a line to the end of the file."""
        with explain(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(line)) + "\n")


def read_lines(path: Path) -> list[Document]:
    """Read the lines of a journal; one that a killed run left half written is no line."""
    found = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                break
    return found


class Bar:
    """A bar on stderr with loss, films a second, time left and peak memory; silent where nobody watches."""

    def __init__(self, steps: int, first_step: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps, loss {task.fields[loss]:.4f}, {task.fields[speed]:.2f} films/s"),
            TextColumn("{task.fields[memory]:.1f} GiB, left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal or is_quiet(),
        )
        self._task = self._bar.add_task(
            "", total=steps, completed=first_step, loss=float("nan"), speed=0.0, memory=0.0
        )

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def show(self, step: int, *, loss: float, speed: float, memory: float) -> None:
        """Show what the last step was like."""
        self._bar.update(self._task, completed=step, loss=loss, speed=speed, memory=memory)


class Curves:
    """Writes numbers for TensorBoard, where it is wanted.

    Raises
    ------
    SetupError
        TensorBoard is wanted and not installed.
    """

    def __init__(self, folder: Path, *, wanted: bool) -> None:
        self._writer: Any = None
        if not wanted:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise SetupError(
                expected="the package tensorboard",
                got="none",
                where="for curves of a training run",
                remedy="install attnscope[training], or leave tensorboard out",
            ) from error
        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def add(self, step: int, numbers: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        if self._writer is not None:
            for name, number in numbers.items():
                self._writer.add_scalar(name, number, step)

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()


def peak_memory_gib(device: torch.device) -> float:
    """Return the most memory that was in use so far: of the GPU where training runs on one, else of the process."""
    import torch

    if getattr(device, "type", "") == "cuda":
        return float(torch.cuda.max_memory_allocated(device)) / 2**30
    if sys.platform == "win32":
        return float("nan")
    import resource

    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
