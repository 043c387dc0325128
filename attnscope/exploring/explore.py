"""explore: a store in a notebook, to move through."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnscope.errors import SetupError
from attnscope.exploring.films import Videos
from attnscope.exploring.sources import Explored, open_sources

if TYPE_CHECKING:
    from anywidget import AnyWidget

_HERE = Path(__file__).parent
_MOST_MB = 60.0


def explore(explored: Explored, video: Videos = None, *, compare: Explored | None = None) -> AnyWidget:
    """Show in a notebook which frame looks at which: all heads, one large map, the film; two stores side by side.

    Point at a head to see its map, click to pin it; point at a map to read the share of a pair of frames and to see
    those frames. The slider goes through the denoising steps, the mean over them first. A bar under each head says how
    far a statistic lies from what it is without structure. The keys are listed below the heads. Works where anywidget
    does: JupyterLab, Jupyter Notebook, VS Code, marimo, Colab.

    Parameters
    ----------
    explored
        An attention dataset, as `probe` returns it, or the path of a store.
    video
        Films of the prompts, files or uint8 frames (frames, height, width, 3); one, or one for each. By default those
        that `attnscope probe` keeps beside a store.
    compare
        A second dataset or store: another mask, model or prompt. Layers, heads and steps are matched by their labels,
        steps by the noise level nearest to it; a difference is the ratio of shares, where both have as many frames.

    Returns
    -------
    anywidget.AnyWidget
        `selection` is what is pinned and pointed at: prompt, step, branch, layer, head, query_frame, key_frame; None
        for a mean, and where no pair is pointed at.

    Raises
    ------
    SetupError
        anywidget is not installed.
    StoreError, SchemaError, InputError, VideoError
        What was given is no store or dataset, two stores share no layer, a film cannot be read.

    Examples
    --------
    >>> from attnscope import synthetic
    >>> widget = explore(synthetic.example())
    >>> widget.stores[0]["index"]["layers"]
    [1, 2, 3, 4]
    """
    sources = open_sources(explored, compare, video)
    packed = [source.pack(_MOST_MB / len(sources)) for source in sources]
    widget: AnyWidget = _widget_class()(
        stores=[{"index": each.index, "data": each.data} for each in packed], selection={}
    )
    return widget


def _widget_class() -> Any:
    """The widget, defined when it is asked for: nothing of Jupyter is imported before."""
    try:
        import anywidget
        import traitlets
    except ModuleNotFoundError as error:
        raise SetupError(
            expected="anywidget, which shows the explorer in a notebook",
            got="none",
            where="in this environment",
            remedy='pip install "attnscope[notebooks]", or write a page with attnscope.write_report',
        ) from error

    class Explorer(anywidget.AnyWidget):
        _esm = _HERE / "explorer.js"
        _css = _HERE / "explorer.css"
        stores: Any = traitlets.List().tag(sync=True)
        selection: Any = traitlets.Dict().tag(sync=True)

    return Explorer
