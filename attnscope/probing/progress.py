"""How far a run is: a bar in a terminal or a notebook, nothing where nobody watches."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from attnscope._types import OnProgress
from attnscope.families.protocols import Pipeline


@contextmanager
def progress_bar(what: str, *, shown: bool = True) -> Iterator[OnProgress]:
    """Show on stderr how many steps are done; yields what to tell, ``(done, total)``.

    A terminal has a bar of rich, a notebook one of tqdm; elsewhere (a log, a pipe, a test) nothing is written, and
    nowhere if ATTNSCOPE_QUIET is set.
    """
    shown = shown and not is_quiet()
    if shown and _is_notebook():
        yield from _notebook_bar(what)
    elif shown and sys.stderr.isatty():
        yield from _terminal_bar(what)
    else:
        yield lambda done, total: None


def _terminal_bar(what: str) -> Iterator[OnProgress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    steps = (BarColumn(), MofNCompleteColumn(), TextColumn("steps"), TimeRemainingColumn())
    with Progress(TextColumn(what), *steps, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _notebook_bar(what: str) -> Iterator[OnProgress]:
    from tqdm.auto import tqdm

    with tqdm(desc=what, unit="step") as bar:

        def update(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield update


def is_quiet() -> bool:
    """Whether nothing but results and errors shall be written."""
    return bool(os.environ.get("ATTNSCOPE_QUIET"))


def _is_notebook() -> bool:
    """Whether this runs in a Jupyter kernel: IPython says so, if it is there at all."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return type(shell).__name__ == "ZMQInteractiveShell"


@contextmanager
def hush_progress(pipe: Pipeline) -> Iterator[None]:
    """Hush the pipeline's own progress bar: one bar is enough."""
    before = dict(getattr(pipe, "_progress_bar_config", {}))
    pipe.set_progress_bar_config(**{**before, "disable": True})
    try:
        yield
    finally:
        pipe.set_progress_bar_config(**before)
