"""Change a model's attention systematically, make films, and see where they are cut."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import xarray as xr

from attnscope._reduction import reduce_labels
from attnscope._sweep_cells import Cell, Over, cells_over
from attnscope._sweep_run import OnFilm, Order, Plans, Run
from attnscope._sweep_store import SweepStore
from attnscope.errors import InputError, quote
from attnscope.ranges import format_range, parse_range

__all__ = ["FoundLayers", "find_layers", "open_sweep", "sweep"]


def sweep(
    model: Any,
    over: Over,
    prompts: str | Sequence[str],
    *,
    shots: Plans,
    out: str | os.PathLike[str],
    values: Sequence[str | float] | None = None,
    window: int = 1,
    by_layer: bool = False,
    rule: str = "same_shot",
    layers: str = "7-28",
    seeds: Sequence[int] = (0,),
    processes: int = 1,
    on_film: OnFilm | None = None,
    **arguments: Any,
) -> xr.Dataset:
    """Make the same films with the attention changed in one place after another, and see which change cuts them.

    Every film is made once a cell: without a mask ("none"), with the rule in all of ``layers`` ("full"), and once for
    each value between. Films are looked at as :func:`attnscope.generate` does and only what was found is kept, one
    small file a film, written when it is done. Killed at any moment, the same call goes on; cells that another sweep in
    the folder has made already are not made again.

    Parameters
    ----------
    model
        The name or folder of a model, as :func:`attnscope.load` takes it; or a loaded pipeline, for one process.
    over : {"layers", "heads", "steps", "strength", "jitter"}
        What differs from cell to cell. ``layers``, ``heads``, ``steps``: the rule holds only there. ``strength``: what
        hidden pairs lose, in natural-log units (dose response). ``jitter``: the mask's cuts are moved anew in every
        layer, by at most so many latent frames.
    prompts : str or sequence of str
        What the films are about.
    shots : ShotPlan or sequence of ShotPlan
        Where to cut: one plan for all, or one a prompt.
    out : path
        The folder to write to, or to go on in.
    values : sequence, optional
        The cells: ranges of labels, or numbers; by default windows of ``window`` labels, or usual numbers.
    window : int
        How many labels make one window.
    by_layer : bool
        Over heads: each of ``layers`` by itself, a grid of layers and heads.
    rule : str
        What is held apart, as :func:`attnscope.masks.parse_rule` reads it.
    layers : range
        The layers of "full", and those that are gone through.
    seeds : sequence of int
        Of the noise; each prompt is made with each.
    processes : int
        How many processes share the films; each loads the model, and gets an equal part of the cores.
    on_film : callable, optional
        Called with (done, all) as films get done.
    **arguments
        Go to the pipeline: ``num_inference_steps``, ``guidance_scale``, ...

    Returns
    -------
    xarray.Dataset
        ``recall``, ``precision``, ``transition_control``, ``num_detected``, ``num_matched`` over (prompt, seed, cell)
        and ``num_requested`` over prompt; see :func:`attnscope.structure.causal_effect`.

    Raises
    ------
    InputError
        Something that cannot be swept over; nothing was run.
    StoreError
        The folder holds something else.
    RunError
        A process died; the same call goes on.

    Examples
    --------
    >>> import tempfile, attnscope as scope
    >>> plan = scope.ShotPlan.from_latent_frames([2], num_frames_latent=5, fps=16)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     swept = sweep("wan-mini", "strength", "One shot: a red ball", shots=plan, out=folder + "/s", values=[4],
    ...         num_inference_steps=1)
    >>> swept.recall.dims, swept.cell.values.tolist()
    (('prompt', 'seed', 'cell'), ['none', 'full', 'strength 4'])
    """
    run = Run(model, Order.read(prompts, shots, rule, seeds, arguments), processes)
    cells = cells_over(
        over, layers=layers, labels=run.studio.labels, num_heads=run.studio.num_heads,
        num_steps=run.studio.num_steps, values=values, window=window, by_layer=by_layer,
    )  # fmt: skip
    run.begin(out)
    run.make(cells, on_film)
    return run.store.dataset(cells)


def open_sweep(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read what was found so far, of all sweeps in a folder; nan where a film is still to be made.

    Raises
    ------
    StoreError
        The folder holds no sweep, or a damaged one.
    """
    return SweepStore.open(Path(path)).dataset()


@dataclass(frozen=True)
class FoundLayers:
    """A smallest set of layers that still cuts; ``score`` is its mean, ``full_score`` that of all it began with.

    ``trail`` holds every set that was tried, with its score, in order.
    """

    layers: str
    score: float
    full_score: float
    trail: tuple[tuple[str, float], ...]


def find_layers(
    model: Any,
    prompts: str | Sequence[str],
    *,
    shots: Plans,
    out: str | os.PathLike[str],
    layers: str = "all",
    over: Literal["layers", "heads"] = "layers",
    keep: float = 0.95,
    measure: Literal["transition_control", "recall"] = "transition_control",
    rule: str = "same_shot",
    seeds: Sequence[int] = (0,),
    processes: int = 1,
    on_film: OnFilm | None = None,
    **arguments: Any,
) -> FoundLayers:
    """Find a smallest set of layers in which a mask cuts nearly as well as in all of them.

    Halves, quarters, ... of the layers are left out or kept alone while the mean ``measure`` stays at ``keep`` of the
    full set's or above (Zeller and Hildebrandt's delta debugging, TSE 2002). The set found is smallest in the sense
    that no single layer can be left out of it; a smaller one may exist elsewhere, and with few films the answer
    depends on them. ``over="heads"`` looks for heads instead, the same in all of ``layers``. Films are kept as by
    :func:`attnscope.sweep`, so that a killed search goes on; ``transition_control`` counts cuts and ``recall`` asks for
    their place, too.

    Raises
    ------
    InputError
        Something that cannot be searched, or a full set that does not cut at all.
    """
    if (
        not 0 < keep <= 1
        or measure not in ("transition_control", "recall")
        or over not in ("layers", "heads")
    ):
        raise InputError(
            f"expected keep from 0 to 1, measure transition_control or recall and over layers or heads, got "
            f"{quote(keep)}, {quote(measure)} and {quote(over)} in find_layers; 0.95 is usual"
        )
    run = Run(model, Order.read(prompts, shots, rule, seeds, arguments), processes)
    inside = format_range(parse_range(layers, run.studio.labels, name="layers"))
    run.begin(out)
    tried: dict[tuple[int, ...], float] = {}

    def score(labels: tuple[int, ...]) -> float:
        if labels not in tried:
            said = format_range(labels)
            chosen = (said, "all") if over == "layers" else (inside, said)
            cell = Cell(f"{over} {said}", *chosen)
            run.make((cell,), on_film)
            tried[labels] = float(run.store.dataset((cell,))[measure].mean())
        return tried[labels]

    everything = (
        parse_range(inside, run.studio.labels, name="layers")
        if over == "layers"
        else tuple(range(run.studio.num_heads))
    )
    full = score(everything)
    if not full > 0:
        raise InputError(
            f"expected a rule that cuts in all of {over} {format_range(everything)}, got a {measure} of 0 in "
            "find_layers; give another rule or more steps"
        )
    found = reduce_labels(everything, lambda labels: score(labels) >= keep * full)
    trail = tuple((format_range(labels), value) for labels, value in tried.items())
    return FoundLayers(format_range(found), tried[found], full, trail)
