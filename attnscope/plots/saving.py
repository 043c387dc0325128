"""Figures on disk, the same bytes every time."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from matplotlib.figure import Figure

from attnscope.plots import _theme


def save_figure(fig: Figure, stem: str | PathLike[str]) -> list[Path]:
    """Write a figure as PNG (300 dpi) and PDF next to each other; equal figures give equal files.

    `stem` is the path without an ending; folders are made. Nothing that changes from run to run (dates, versions) is
    written, and fonts are embedded as TrueType. Returns the two paths.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> [path.name for path in save_figure(Figure(figsize=(1, 1)), Path(folder.name) / "empty")]
    ['empty.png', 'empty.pdf']
    >>> folder.cleanup()
    """
    base = Path(stem)
    base.parent.mkdir(parents=True, exist_ok=True)
    png, pdf = (base.with_name(f"{base.name}.{ending}") for ending in ("png", "pdf"))
    with _theme.theme():
        fig.savefig(png, dpi=_theme.DPI, metadata={"Software": None})
        fig.savefig(
            pdf, dpi=_theme.DPI, metadata={"CreationDate": None, "Creator": "attnscope", "Producer": None}
        )
    return [png, pdf]
