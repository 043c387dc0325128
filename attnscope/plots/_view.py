"""What a picture shows of a dataset: one video, one guidance branch, one head or their mean, by label."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from attnscope.errors import InputError
from attnscope.schema import (
    BRANCH,
    HEAD,
    KEY_FRAME,
    LAYER,
    MASS,
    PROMPT,
    QUERY_FRAME,
    QUERY_SHOT,
    SIGMA,
    STEP,
)


@dataclass(frozen=True)
class View:
    """The frame maps of one video by step and layer, and its shots."""

    mass: xr.DataArray  # step, layer, query_frame, key_frame
    shot: npt.NDArray[np.integer]  # -1 where none was given
    heads: str  # in words, for the label of the colour scale

    @property
    def cuts(self) -> list[int]:
        """The first latent frame of each later shot."""
        return [int(frame) for frame in np.flatnonzero(np.diff(self.shot)) + 1]

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Each shot as (start, stop), half-open; empty where no plan was given."""
        if (self.shot < 0).any():
            return []
        edges = [0, *self.cuts, len(self.shot)]
        return list(itertools.pairwise(edges))

    def labels(self, dim: str) -> list[int]:
        """The labels along `step` or `layer`."""
        return [int(label) for label in self.mass[dim].values]

    def panel(self, *, layer: int, step: int | None) -> npt.NDArray[np.float64]:
        """One map; without a step the mean over the recorded ones."""
        one = self.mass.sel({LAYER: layer})
        chosen = one.mean(STEP, skipna=True) if step is None else one.sel({STEP: step})
        return np.asarray(chosen.values, dtype=np.float64)

    def step_title(self, step: int) -> str:
        """Name a step with its noise level, where the store has one."""
        if SIGMA not in self.mass.coords:
            return f"step {step}"
        sigma = self.mass[SIGMA]
        return f"step {step}\nσ = {float(sigma.sel({STEP: step}) if STEP in sigma.dims else sigma):.2f}"


def view_of(
    ds: xr.Dataset, *, prompt: int | str | None = None, branch: str = "cond", head: int | None = None
) -> View:
    """Select one video and branch; without `head` the heads are averaged, and the colour scale says so."""
    one = _choose(ds, PROMPT, prompt)
    one = _choose(one, BRANCH, branch)
    mass, heads = one[MASS], ""
    if HEAD in mass.dims and head is None:
        heads = f"mean over {mass.sizes[HEAD]} heads" if mass.sizes[HEAD] > 1 else ""
        mass = mass.mean(HEAD, skipna=True)
    elif head is not None:
        mass, heads = _choose(one, HEAD, head)[MASS], f"head {head}"
    if more := [str(dim) for dim in mass.dims if dim not in (STEP, LAYER, QUERY_FRAME, KEY_FRAME)]:
        raise InputError(
            expected="frame maps of one video by step and layer",
            got=f"the dim {', '.join(more)} too",
            where="in the dataset to draw",
            remedy=f"select one along it, as in ds.isel({more[0]}=0)",
        )
    for dim in (LAYER, STEP):
        if dim not in mass.dims:
            mass = mass.expand_dims(dim) if dim in mass.coords else mass.expand_dims({dim: [0]})
    shot = one[QUERY_SHOT].values if QUERY_SHOT in one.coords else np.full(one.sizes[QUERY_FRAME], -1)
    ordered = mass.transpose(STEP, LAYER, QUERY_FRAME, KEY_FRAME).compute()
    return View(ordered, np.asarray(shot), heads)


def _choose(ds: xr.Dataset, dim: str, label: str | int | None) -> xr.Dataset:
    """Select by label; None is the first."""
    if dim not in ds.dims:
        return ds
    if label is None:
        return ds.isel({dim: 0})
    if label not in ds[dim].values:
        shown = ", ".join(map(str, ds[dim].values[:8]))
        raise InputError(
            expected=f"a recorded {dim}",
            got=f"{label!r}",
            where=f"where the dataset has {shown}",
            remedy="name one of those",
        )
    return ds.sel({dim: label})


def choose_labels(view: View, dim: str, labels: Sequence[int] | None, *, at_most: int) -> list[int]:
    """Check the labels asked for, or spread `at_most` of the recorded ones evenly, first and last included."""
    recorded = view.labels(dim)
    if labels is None:
        place = np.linspace(0, len(recorded) - 1, min(at_most, len(recorded))).round().astype(int)
        return [recorded[index] for index in place]
    missing = [label for label in labels if label not in recorded]
    if missing or not len(labels):
        raise InputError(
            expected=f"recorded {dim}s ({recorded[0]} to {recorded[-1]})",
            got=f"{missing or 'none'}",
            where="to draw",
            remedy="name others or leave them out",
        )
    return [int(label) for label in labels]


def scale_label(view: View, over: str = "") -> str:
    """Say in words what the colours mean."""
    parts = [part for part in (view.heads, over) if part]
    return "share of the query frame's attention (log scale" + "".join(f"; {part}" for part in parts) + ")"
