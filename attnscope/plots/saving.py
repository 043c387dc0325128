"""Figures on disk, the same bytes every time."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from matplotlib.figure import Figure

from attnscope.plots import _theme
from attnscope.storage.disk import make_folder, replace_file

# What matplotlib would write into a file that changes from run to run or from version to version, and None is not.
_METADATA: dict[str, dict[str, str | None]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": "attnscope", "Producer": None},
    ".svg": {"Date": None, "Creator": "attnscope"},
}
_BOTH = (".png", ".pdf")


def save_figure(fig: Figure, path: str | PathLike[str]) -> list[Path]:
    """Write a figure as PDF, SVG or PNG, as the ending says; equal figures give equal files.

    Parameters
    ----------
    fig : matplotlib Figure
        What a plot function returned.
    path : path
        Ending in .pdf, .svg or .png (300 dpi): that one file. With another ending or none: PNG and PDF, the ending
        added to the path. Folders are made.

    Returns
    -------
    list of Path
        What was written. Nothing in it changes from run to run (dates, versions); fonts are embedded as TrueType in
        PDF, and as outlines in SVG.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> [path.name for path in save_figure(Figure(figsize=(1, 1)), Path(folder.name) / "empty")]
    ['empty.png', 'empty.pdf']
    >>> [path.name for path in save_figure(Figure(figsize=(1, 1)), Path(folder.name) / "empty.svg")]
    ['empty.svg']
    >>> folder.cleanup()
    """
    wanted = Path(path)
    ending = wanted.suffix.lower()
    paths = [wanted] if ending in _METADATA else [wanted.with_name(wanted.name + each) for each in _BOTH]
    make_folder(wanted.parent)
    with _theme.theme():
        for each in paths:
            kind = each.suffix.lower()
            with replace_file(each) as part:
                fig.savefig(part, format=kind.removeprefix("."), dpi=_theme.DPI, metadata=_METADATA[kind])
    return paths
