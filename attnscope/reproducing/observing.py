"""What attention shows of the shots, layer by layer and step by step, and what would show without any cut."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from attnscope import structure
from attnscope._types import Document
from attnscope.reproducing import paper
from attnscope.schema import PROMPT

_OF_STEP = ("head",)
_OF_ALL = ("step", "head", "layer")


def summarise_both(
    attention: xr.Dataset, layers: Sequence[int], found: Sequence[Sequence[int]], detector: str
) -> Document:
    """Summarise a store against the cuts that were asked for, and against those that its films have.

    Parameters
    ----------
    attention : xarray.Dataset
        A store of films with the shots that were asked for.
    layers : sequence of int
        Labels of the layers that are masked later.
    found : sequence of sequence of int
        The cuts of each film, in frames; films without any are left out of what is measured against them.
    detector : str
        What found them.

    Returns
    -------
    dict
        `asked` and `found`, each as :func:`summarise` gives it; beside the latter the detector, the cuts, and how many
        films have any. Where none has, `found` says so and holds no numbers.
    """
    cut = [index for index, cuts in enumerate(found) if cuts]
    of_films: Document = {
        "detector": detector,
        "cuts_frame": [list(cuts) for cuts in found],
        "num_films_cut": len(cut),
    }
    if cut:
        films = attention.isel({PROMPT: cut})
        of_films |= summarise(structure.with_cuts(films, [found[index] for index in cut]), layers)
    return {"asked": summarise(attention, layers), "found": of_films}


def summarise(attention: xr.Dataset, layers: Sequence[int]) -> Document:
    """Summarise a store of films: one number each, the same by layer and step, and the nulls beside them.

    Parameters
    ----------
    attention : xarray.Dataset
        A store of films with the shots that were asked for.
    layers : sequence of int
        Labels of the layers that are masked later.

    Returns
    -------
    dict
        `numbers`: for each statistic of the map averaged over heads, steps and layers its mean over films, the value
        of its null and what the paper reports; `masked_layers` the same for the layers that are masked;
        `by_layer_and_step`: adjusted contrast, a row a layer; `cut_test`: p of all films, or the reason for none.
    """
    ds = attention.sel(branch="cond")
    grid = structure.adjusted_contrast(ds, over=_OF_STEP)
    tested = structure.cut_test(ds, over=_OF_ALL)
    return {
        "num_films": int(ds.sizes["prompt"]),
        "numbers": _measure(ds),
        "masked_layers": _measure(ds.sel(layer=[each for each in layers if each in ds.layer])),
        "by_layer_and_step": {
            "layers": [int(each) for each in grid.layer],
            "steps": [int(each) for each in grid.step],
            "adjusted_contrast": _average(grid, "log").transpose("layer", "step").values.tolist(),
        },
        "cut_test": {
            "p": float(tested.p),
            "adjusted_r": float(tested.adjusted_r),
            "null_mean": float(tested.null_mean),
            **{name: tested.attrs[name] for name in ("null", "num_arrangements", "smallest_p", "reason")},
        },
    }


def _measure(ds: xr.Dataset) -> Document:
    published = paper.list_observed()
    found = {
        "contrast": (
            structure.contrast(ds, over=_OF_ALL),
            structure.distance_only_contrast(ds, over=_OF_ALL),
            "log",
        ),
        "adjusted_contrast": (structure.adjusted_contrast(ds, over=_OF_ALL), None, "log"),
        "correlation": (structure.correlation(ds, over=_OF_ALL), None, "mean"),
        "adjusted_r": (structure.adjusted_r(ds, over=_OF_ALL), None, "mean"),
    }
    usual = {"adjusted_contrast": 1.0, "adjusted_r": 0.0}
    return {
        name: {
            "value": float(_average(value, scale)),
            "null": usual.get(name) if null is None else float(_average(null, scale)),
            "paper": published.get(name),
        }
        for name, (value, null, scale) in found.items()
    }


def _average(values: xr.DataArray, scale: str) -> xr.DataArray:
    """The mean over films, of logarithms for what multiplies; films without a value are left out."""
    finite = values.where(np.isfinite(values))
    if scale == "log":
        mean: xr.DataArray = np.exp(xr.apply_ufunc(np.log, finite.where(finite > 0)).mean(PROMPT))
        return mean
    return finite.mean(PROMPT)
