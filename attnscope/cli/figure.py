"""`attnscope figure`: draw a figure for a paper from a store, or all that it holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from cyclopts import Parameter

from attnscope._types import Document
from attnscope.cli._options import AsJson, OutIfAny
from attnscope.cli._output import print_json
from attnscope.errors import InputError, StoreError, quote, suggest
from attnscope.schema import PROMPT
from attnscope.storage.disk import explain, make_folder, write_durably

if TYPE_CHECKING:
    import xarray as xr

    from attnscope._types import Frames
    from attnscope.cli._recipes import Recipe, Sources

_ENDINGS = (".pdf", ".svg", ".png")


def figure_command(
    *what: str,
    out: OutIfAny = None,
    every: Annotated[bool, Parameter(name="--all", negative="")] = False,
    listed: Annotated[bool, Parameter(name="--list", negative="")] = False,
    venue: Literal["iclr", "neurips", "cvpr", "tmlr"] = "iclr",
    layers: str | None = None,
    steps: str | None = None,
    prompt: str | None = None,
    branch: str = "cond",
    compare: Path | None = None,
    film: Path | None = None,
    title: str | None = None,
    as_json: AsJson = False,
) -> None:
    """Draw a figure for a paper from a store, or all that it holds; no model is needed.

    figure --list; figure NAME STORE -o FILE.pdf; figure --all STORE -o FOLDER. The ending says what is written: .pdf,
    .svg or .png, .tex for a table. The same store gives the same bytes, fonts included.

    Parameters
    ----------
    what
        The name of a figure and the store, or with --all the store alone: what `attnscope probe` or `attnscope sweep`
        wrote, or the folder of the run.
    out
        The file, or with --all the folder.
    every
        Draw every figure that the store has the data for, as PDF.
    listed
        Say which figures there are.
    venue
        Whose text width the figure is drawn for.
    layers
        Layers to show, e.g. "7,14,28"; spread evenly without. A figure of one layer takes the first.
    steps
        Denoising steps to show, likewise.
    prompt
        Id of the video to show; the first without.
    branch
        Guidance branch.
    compare
        A second store of the same prompts, for the figure comparison.
    film
        The video file that the store is of, for the figures film and overview; by default the one beside the store.
    title
        Written above the figure.
    """
    from attnscope.cli._recipes import RECIPES

    if listed:
        _list(RECIPES, as_json=as_json)
        return
    name, store = _words(what, every=every)
    if out is None:
        raise InputError(
            expected="a place for the figure",
            got="none",
            where="as -o",
            remedy="write -o figures" if every else f"write -o {name}.pdf",
        )
    shown = {"branch": branch, "prompt": prompt, "title": title}
    sources = _read(store, compare, film, venue, layers, steps, shown)
    wanted = {each: RECIPES[each] for each in ([name] if name else RECIPES)}
    lacking = {each: lack for each, recipe in wanted.items() if (lack := recipe.lacks(sources))}
    if name and lacking:
        raise InputError(
            expected=lacking[name],
            got=f"{quote(str(store))} alone",
            where=f"for the figure {name}",
            remedy="give what it needs",
        )
    drawn = [
        _draw(recipe, sources, out if name else out / each, is_file=bool(name))
        for each, recipe in wanted.items()
        if each not in lacking and (name or _applies(each, sources))
    ]
    paths = [str(path) for path in drawn]
    if as_json:
        print_json({"figures": paths, "left_out": lacking})
    else:
        print(*paths, sep="\n")


def _list(recipes: Mapping[str, Recipe], *, as_json: bool) -> None:
    if as_json:
        print_json(
            {name: {"shows": each.sentence, "needs": list(each.needs)} for name, each in recipes.items()}
        )
        return
    for name, each in recipes.items():
        print(f"{name:<15} {each.sentence} (needs {', '.join(each.needs)})")


def _words(what: tuple[str, ...], *, every: bool) -> tuple[str, Path]:
    """Split the words into the name of a figure, empty for all, and the store."""
    from attnscope.cli._recipes import RECIPES

    if every and len(what) == 1:
        return "", Path(what[0])
    if every or len(what) != 2 or what[0] not in RECIPES:
        raise InputError(
            expected=f"one of {', '.join(RECIPES)}, and a store" if not every else "a store and no name",
            got=quote(" ".join(what)) if what else "nothing",
            where="after attnscope figure",
            remedy=suggest(
                what[0] if what else "", RECIPES, "attnscope figure --list says what each one shows"
            ),
        )
    return what[0], Path(what[1])


def _read(
    store: Path,
    compare: Path | None,
    film: Path | None,
    venue: str,
    layers: str | None,
    steps: str | None,
    shown: Document,
) -> Sources:
    from attnscope import plots
    from attnscope.cli._recipes import Sources
    from attnscope.exploring.sources import names_apart
    from attnscope.ranges import parse_range

    dataset = _open(store)
    for dim, text in (("layer", layers), ("step", steps)):
        if text is not None and dim in dataset.dims:
            shown[f"{dim}s"] = tuple(parse_range(text, dataset[dim].values.tolist(), name=f"{dim}s"))
    second = None if compare is None else _open(compare)
    names = (store.stem, "first") if compare is None else names_apart(store, compare)
    if PROMPT in dataset.dims and shown["prompt"] is not None:
        shown["prompt"] = _prompt_called(shown["prompt"], dataset)
    film = film or _film_beside(store, dataset, shown["prompt"])
    frames = None if film is None else _pictures(film, dataset)
    width = plots.VENUES[venue]
    return Sources(dataset, width.text_in, width.column_in, second, frames, names=names, **shown)


def _open(path: Path) -> xr.Dataset:
    """Read what probe or sweep wrote."""
    from attnscope.storage import open_store

    if (path / "sweep.json").is_file():
        from attnscope.sweeping.store import SweepStore

        return SweepStore.open(path).dataset()
    if not path.exists():
        raise StoreError(
            expected="a store or the folder of a sweep",
            got="nothing",
            where=f"at {path}",
            remedy="give its path",
        )
    return open_store(path)


def _prompt_called(name: str, dataset: xr.Dataset) -> object:
    """The id of a prompt that was written as text, whatever kind ids are of; another stays as it is, to be refused."""
    ids = {str(each): each for each in dataset[PROMPT].values.tolist()}
    return ids.get(name, name)


def _film_beside(store: Path, dataset: xr.Dataset, prompt: object) -> Path | None:
    """The film that is shown, where it lies beside the store."""
    from attnscope.exploring.films import find_films
    from attnscope.storage import locate_store

    if PROMPT not in dataset.dims:
        return None
    ids = dataset[PROMPT].values.tolist()
    films = dict(zip(ids, find_films(locate_store(store), len(ids)), strict=True))
    return films.get(ids[0] if prompt is None else prompt)


def _pictures(film: Path, dataset: xr.Dataset) -> Frames:
    """The first video frame of each latent frame."""
    from attnscope.video.files import read_frames

    frames, starts = read_frames(film), dataset["query_start_frame"].values
    if int(starts[-1]) >= len(frames):
        raise InputError(
            expected=f"a film of more than {int(starts[-1])} frames, as the store is of",
            got=f"{len(frames)}",
            where=f"in {film}",
            remedy="give the video that was probed",
        )
    return np.asarray(frames[starts])


def _applies(name: str, sources: Sources) -> bool:
    """Say whether a figure of all has something to show: a dose needs several strengths."""
    return name != "dose" or len(set(sources.store["strength"].values.tolist())) > 2


def _draw(recipe: Recipe, sources: Sources, path: Path, *, is_file: bool) -> Path:
    from attnscope import plots

    drawn = recipe.draw(sources)
    is_text = isinstance(drawn, str)
    fitting = (".tex",) if is_text else _ENDINGS
    if not is_file:
        path = path.with_name(path.name + fitting[0])
    if path.suffix.lower() not in fitting:
        raise InputError(
            expected=f"a file that ends in {' or '.join(fitting)}",
            got=quote(path.name),
            where="as -o",
            remedy=f"write {path.stem}{fitting[0]}",
        )
    if not isinstance(drawn, str):
        with explain(path):
            return plots.save_figure(drawn, path)[0]
    make_folder(path.parent)
    write_durably(path, f"{drawn}\n".encode())
    return path
