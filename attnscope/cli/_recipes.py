"""From a store to a picture: which statistic each figure shows, and what it needs. No model, no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import xarray as xr

from attnscope.errors import InputError

if TYPE_CHECKING:
    from attnscope._types import Frames
    from attnscope.plots import Page

Keywords: TypeAlias = dict[str, Any]
"""What a plot function is told by name."""

Needs: TypeAlias = Literal["attention", "cuts", "film", "second", "sweep"]

_THRESHOLD = 0.2
_MOST_MARKED = 3


@dataclass(frozen=True)
class Sources:
    """What a figure is drawn from, and what of it is shown."""

    store: xr.Dataset
    text_in: float
    column_in: float
    second: xr.Dataset | None = None
    film: Frames | None = None
    branch: str = "cond"
    prompt: str | None = None
    layers: tuple[int, ...] | None = None
    steps: tuple[int, ...] | None = None
    names: tuple[str, str] = ("first", "second")
    title: str | None = None
    has: frozenset[Needs] = field(init=False)

    def __post_init__(self) -> None:
        is_attention = "mass" in self.store
        there: dict[Needs, bool] = {
            "attention": is_attention,
            "cuts": is_attention and bool((self.store["query_shot"] > 0).any()),
            "film": self.film is not None,
            "second": self.second is not None,
            "sweep": not is_attention,
        }
        found = (need for need, is_there in there.items() if is_there)
        object.__setattr__(self, "has", frozenset(found))

    @property
    def view(self) -> Keywords:
        """Which video and guidance branch a plot function shows."""
        return {"prompt": self.prompt, "branch": self.branch, "title": self.title}

    @property
    def layer(self) -> int | None:
        """The one layer that was asked for, the first of several."""
        return self.layers[0] if self.layers else None

    def one_film(self) -> xr.Dataset:
        """The store with one guidance branch and the video that is shown."""
        one = self.store.sel(branch=self.branch)
        return one.isel(prompt=0) if self.prompt is None else one.sel(prompt=self.prompt)


@dataclass(frozen=True)
class Recipe:
    """One figure: what it shows, what it needs, and how it comes about."""

    sentence: str
    needs: tuple[Needs, ...]
    draw: Callable[[Sources], Page | str]

    def lacks(self, sources: Sources) -> str:
        """Say what is missing for this figure, nothing if all is there."""
        return next((_WANTED[need] for need in self.needs if need not in sources.has), "")


_WANTED: Mapping[Needs, str] = {
    "attention": "a store that attnscope probe wrote",
    "cuts": "a store whose cuts are known: probe it with --shots",
    "film": "the film, with --film",
    "second": "a second store, with --compare",
    "sweep": "a folder that attnscope sweep wrote",
}


def _maps(sources: Sources) -> Page:
    from attnscope import plots

    shown: Keywords = {"layers": sources.layers, "steps": sources.steps, **sources.view}
    return plots.plot_maps(sources.store, **shown, width_in=sources.text_in)


def _profile(sources: Sources) -> Page:
    from attnscope import plots
    from attnscope.structure.headline import layer_curves

    curves: Keywords = dict(layer_curves(sources.store, branch=sources.branch))
    return plots.plot_profile(**curves, width_in=sources.text_in, title=sources.title)


def _overview(sources: Sources) -> Page:
    from attnscope import plots
    from attnscope.structure.headline import layer_curves

    curves: Keywords = dict(layer_curves(sources.store, branch=sources.branch))
    shown: Keywords = {"layer": sources.layer, "steps": sources.steps, "film": sources.film, **sources.view}
    return plots.plot_overview(sources.store, **curves, **shown, width_in=sources.text_in)


def _atlas(sources: Sources) -> Page:
    from attnscope import plots

    by_head = _mean(_adjusted_r(sources.store, sources, ["step"])).transpose("layer", "head")
    best = by_head.stack(place=("layer", "head")).dropna("place").sortby("place")
    order = np.argsort(-best.values, kind="stable")[:_MOST_MARKED]
    marks = [best["place"].values[place] for place in order]
    return plots.plot_table(by_head, centre=0, marks=marks, **_as_table(sources))


def _steps(sources: Sources) -> Page:
    from attnscope import plots

    by_step = _mean(_adjusted_r(sources.store, sources, ["head"])).transpose("step", "layer")
    return plots.plot_table(by_step, centre=0, **_as_table(sources))


def _as_table(sources: Sources) -> Keywords:
    return {
        "label": "adjusted r",
        "width_in": sources.column_in,
        "title": sources.title,
    }


def _novelty(sources: Sources) -> Page:
    from attnscope import plots, structure

    one = sources.one_film()
    if sources.layers:
        one = one.sel(layer=list(sources.layers))
    found = structure.boundaries(structure.mean_map(one), threshold=_THRESHOLD)
    cuts = np.flatnonzero(np.diff(one["query_shot"].values)) + 1
    options: Keywords = {"width_in": sources.column_in, "title": sources.title}
    return plots.plot_novelty(found, cuts.tolist(), threshold=_THRESHOLD, **options)


def _film(sources: Sources) -> Page:
    from attnscope import plots

    assert sources.film is not None
    shown: Keywords = {
        "layer": sources.layer or _clearest_layer(sources),
        "step": sources.steps[0] if sources.steps else None,
        **sources.view,
    }
    return plots.plot_film(sources.store, sources.film, **shown, width_in=sources.text_in)


def _clearest_layer(sources: Sources) -> int | None:
    """The layer that follows the cuts most, as the overview shows; none where no cut is known."""
    from attnscope.structure.headline import layer_curves

    if "cuts" not in sources.has:
        return None
    return int(layer_curves(sources.store, branch=sources.branch)["adjusted"]["mean"].idxmax("layer"))


def _comparison(sources: Sources) -> Page:
    from attnscope import plots, structure

    assert sources.second is not None
    pair = _same_layers(*(each.sel(branch=[sources.branch]) for each in (sources.store, sources.second)))
    if pair[0]["prompt"].values.tolist() != pair[1]["prompt"].values.tolist():
        raise InputError(
            expected="two stores of the same prompts, film by film",
            got=f"{pair[0].sizes['prompt']} and {pair[1].sizes['prompt']} prompts that differ",
            where="as --compare",
            remedy="probe the same prompts and seeds twice",
        )
    values = [_adjusted_r(each, sources, ["step", "head"]) for each in pair]
    curves = (structure.profile(values[0]), structure.profile(values[1]))
    difference = structure.profile(values[1] - values[0])
    layer = sources.layer or int(abs(difference["mean"]).idxmax("layer"))
    maps = [structure.mean_map(each)["mass"].sel(layer=layer, branch=sources.branch) for each in pair]
    first, second = (
        each.isel(prompt=0) if sources.prompt is None else each.sel(prompt=sources.prompt) for each in maps
    )
    with np.errstate(divide="ignore"):
        change = first.copy(data=np.log2(second.values / first.values)).rename("log2 of the ratio of shares")
    shown: Keywords = {"layer": layer, "names": sources.names, "label": "adjusted r", **sources.view}
    return plots.plot_comparison(
        pair[0], pair[1], change, curves, difference, **shown, width_in=sources.text_in
    )


def _same_layers(first: xr.Dataset, second: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    shared = np.intersect1d(first["layer"].values, second["layer"].values)
    if not shared.size:
        raise InputError(
            expected="two stores that share a layer",
            got="none",
            where="as --compare",
            remedy="probe the same layers twice",
        )
    return first.sel(layer=shared), second.sel(layer=shared)


def _numbers(sources: Sources) -> str:
    from attnscope import plots
    from attnscope.structure.headline import LINES, measure

    summary = measure(sources.store, branch=sources.branch)
    rows = [(words, summary[name], summary.get(f"{name}_ci")) for name, words in LINES if name in summary]
    return plots.latex_table(["measure", "value", "95 %"], rows, caption=sources.title or "")


def _effects(sources: Sources) -> Page:
    from attnscope import plots, structure

    effect = structure.causal_effect(sources.store)
    return plots.plot_effects(effect, width_in=sources.column_in, title=sources.title)


def _dose(sources: Sources) -> Page:
    from attnscope import plots, structure

    effect = structure.causal_effect(sources.store)
    strength = sources.store["strength"].values.astype(float)
    if not np.isfinite(strength).any():
        raise InputError(
            expected="a sweep over strength",
            got=f"cells {', '.join(map(str, effect['cell'].values[:6]))}",
            where="for the figure dose",
            remedy="run attnscope sweep strength",
        )
    dose = effect.isel(cell=np.isfinite(strength)).assign_coords(strength=strength[np.isfinite(strength)])
    ends: Keywords = {
        name: effect.sel(cell=cell) if cell in effect["cell"].values else None
        for name, cell in (("untouched", "none"), ("hidden", "full"))
    }
    dose = dose.assign_coords(strength=("cell", dose["strength"].values)).swap_dims(cell="strength")
    return plots.plot_dose(dose, **ends, width_in=sources.column_in, title=sources.title)


def _grid(sources: Sources) -> Page:
    from attnscope import plots, structure

    labels = {name: len(set(sources.store[name].values.tolist())) for name in ("layers", "heads", "steps")}
    varied = [name for name, num in labels.items() if num > 1]
    rows, columns = (varied[0], varied[1]) if len(varied) > 1 else ("cell", "cuts_frame")
    grid = structure.effect_grid(sources.store, rows=rows, columns=columns)
    return plots.plot_effect_grid(grid, title=sources.title)


def _effect_numbers(sources: Sources) -> str:
    from attnscope import plots, structure

    effect = structure.causal_effect(sources.store)
    rows = [
        (
            str(cell),
            *(float(one[name]) for name in ("mean", "effect")),
            [float(one["low"]), float(one["high"])],
        )
        for cell, one in ((cell, effect.sel(cell=cell)) for cell in effect["cell"].values)
    ]
    return plots.latex_table(["change", "recall", "gain", "95 %"], rows, caption=sources.title or "")


def _adjusted_r(ds: xr.Dataset, sources: Sources, over: list[str]) -> xr.DataArray:
    from attnscope import structure

    return structure.adjusted_r(ds.sel(branch=sources.branch), over=over)


def _mean(values: xr.DataArray) -> xr.DataArray:
    return values.mean("prompt", skipna=True) if "prompt" in values.dims else values


RECIPES: Mapping[str, Recipe] = {
    "maps": Recipe("which frame looks at which, by layer and denoising step", ("attention",), _maps),
    "profile": Recipe("through which layers attention keeps to its shot", ("attention", "cuts"), _profile),
    "overview": Recipe(
        "one page of a store: map, steps, layers, and the film", ("attention", "cuts"), _overview
    ),
    "atlas": Recipe("which heads of which layers keep to their shot", ("attention", "cuts"), _atlas),
    "steps": Recipe("when in denoising which layers keep to their shot", ("attention", "cuts"), _steps),
    "novelty": Recipe("where attention falls apart, against the cuts", ("attention",), _novelty),
    "film": Recipe("the film along its own map", ("attention", "film"), _film),
    "comparison": Recipe(
        "two stores and what changed between them", ("attention", "cuts", "second"), _comparison
    ),
    "numbers": Recipe("the statistics of a store as a LaTeX table", ("attention", "cuts"), _numbers),
    "effects": Recipe("how well each change of a sweep cuts", ("sweep",), _effects),
    "dose": Recipe("how well a mask cuts the stronger it is", ("sweep",), _dose),
    "grid": Recipe("the changes of a sweep by what they changed", ("sweep",), _grid),
    "effect-numbers": Recipe("the changes of a sweep as a LaTeX table", ("sweep",), _effect_numbers),
}
