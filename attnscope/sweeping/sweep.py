"""Change a model's attention systematically, make films, and see where they are cut."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

import xarray as xr

from attnscope._types import Arguments, FilmPlans, OnProgress
from attnscope.families.protocols import Pipeline
from attnscope.intervening.layers import choose_layers
from attnscope.ranges import format_range
from attnscope.storage.disk import require_writable
from attnscope.sweeping.films import Job, Request
from attnscope.sweeping.store import SweepStore
from attnscope.sweeping.variants import Over, variants_over


def sweep(
    model: str | os.PathLike[str] | Pipeline,
    over: Over,
    prompts: str | Sequence[str],
    *,
    shots: FilmPlans,
    out: str | os.PathLike[str],
    values: Sequence[str | float | slice] | None = None,
    window: int = 1,
    by_layer: bool = False,
    rule: str = "same_shot",
    layers: str | None = None,
    seeds: Sequence[int] = (0,),
    processes: int = 1,
    on_film: OnProgress | None = None,
    loading: Arguments = MappingProxyType({}),
    **arguments: object,
) -> xr.Dataset:
    """Make the same films with the attention changed in one place after another, and see which change cuts them.

    Every film is made once a cell: without a mask ("none"), with the rule in all of ``layers`` ("full"), and once for
    each value between. Films are looked at as :func:`attnscope.generate` does; what was found is kept, one small file a
    film, written when it is done, with the film (.mp4) and a strip of its pictures (.png) beside it. Killed at any
    moment, the same call goes on; cells that another sweep in the folder has made already are not made again.

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
    layers : range, optional
        The layers of "full", and those that are gone through; by default where CineTrans holds shots apart, 7-28 of a
        DiT, the last six of a UNet.
    seeds : sequence of int
        Of the noise; each prompt is made with each.
    processes : int
        How many processes share the films; each loads the model, and gets an equal part of the cores.
    on_film : callable, optional
        Called with (done, all) as films get done.
    loading : mapping
        How the model is loaded where it is given by name, as the keywords of :func:`attnscope.load`.
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
    require_writable(Path(out), "folder")
    job = Job(model, Request.read(prompts, shots, rule, seeds, arguments), processes, loading)
    variants = variants_over(
        over,
        layers=layers or format_range(choose_layers(job.maker.pipe)),
        labels=job.maker.labels,
        num_heads=job.maker.num_heads,
        num_steps=job.maker.num_steps,
        values=values,
        window=window,
        by_layer=by_layer,
    )
    job.maker.check(variants)
    job.begin(out)
    job.make(variants, on_film)
    return job.store.dataset(variants)


def open_sweep(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read what was found so far, of all sweeps in a folder; nan where a film is still to be made.

    Raises
    ------
    StoreError
        The folder holds no sweep, or a damaged one.
    """
    return SweepStore.open(Path(path)).dataset()
