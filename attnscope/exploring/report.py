"""write_report: a store as one page that opens anywhere, offline."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory

import xarray as xr

from attnscope._types import Document
from attnscope.exploring import page
from attnscope.exploring.films import Videos, strip_png
from attnscope.exploring.packing import MOST_MB, Packed
from attnscope.exploring.sources import Explored, Source, open_sources
from attnscope.exploring.tables import controls_note, difference_table, headline_table
from attnscope.schema import BRANCH, LAYER, PROMPT, STEP
from attnscope.structure.headline import has_cuts, layer_curves, measure

_STYLES, _SCRIPTS = ("explorer.css", "report.css"), ("explorer.js", "boot.js")
_MOST_STRIPS = 24


def write_report(
    explored: Explored,
    path: str | PathLike[str],
    *,
    compare: Explored | None = None,
    video: Videos = None,
    most_mb: float = MOST_MB,
) -> Path:
    """Write a store as one HTML file: its numbers with their controls, the explorer, the films, where it comes from.

    The file needs no network, no server and no Python; it lets nothing in from outside, and the same store gives the
    same bytes. Every map is in it, each share within a stated precision, where there is room; else steps are left out
    evenly, and the page says how many.

    Parameters
    ----------
    explored
        An attention dataset, or the path of a store.
    path
        The file, ending in .html; folders are made.
    compare
        A second dataset or store, shown beside it and as a difference.
    video
        As in `explore`.
    most_mb
        How large the maps may become, of both stores together.

    Raises
    ------
    InputError
        No .html, two stores that share no layer, more films than prompts.
    StoreError, SchemaError, VideoError
        What was given is no store or dataset; a film cannot be read.
    SetupError
        The file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from attnscope import synthetic
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_report(synthetic.example(), Path(folder) / "example.html").name
    'example.html'
    """
    sources = open_sources(explored, compare, video)
    packed = [source.pack(most_mb / len(sources)) for source in sources]
    title = " and ".join(source.name for source in sources)
    body = [
        page.tag("h1", page.text(title)),
        page.tag(
            "p",
            page.text(" Beside it: ".join(_describe(source.dataset) for source in sources)),
            class_="lead",
        ),
        *_numbers(sources),
        page.tag("h2", "Which frame looks at which"),
        page.tag("p", page.text(_what_is_there(packed)), class_="note"),
        page.tag("div", id="explorer"),
        *_films(sources),
        page.tag("h2", "Where it comes from"),
        *(_provenance(source) for source in sources),
        page.embed_json("stores", [each.index for each in packed]),
        *(page.embed_bytes(f"store-{place}", each.data) for place, each in enumerate(packed)),
    ]
    return page.write_page(path, page.page(title, *body, styles=_STYLES, scripts=_SCRIPTS))


def _describe(dataset: xr.Dataset) -> str:
    from attnscope.ranges import format_range

    layers = format_range([int(each) for each in dataset[LAYER].values.reshape(-1)])
    model = dataset.attrs.get("model") or dataset.attrs.get("model_id") or "unnamed model"
    sizes = {dim: dataset.sizes.get(dim, 1) for dim in (PROMPT, STEP)}
    films = "1 film" if sizes[PROMPT] == 1 else f"{sizes[PROMPT]} films"
    steps = "1 step" if sizes[STEP] == 1 else f"{sizes[STEP]} steps"
    return f"{model}, layers {layers}, {films}, {steps}, {dataset.sizes['query_frame']} latent frames."


def _numbers(sources: Sequence[Source]) -> Iterator[str]:
    """The statistics of each store, what they are without the cuts, and what differs between two."""
    yield page.tag("h2", "What attention does across the cuts")
    branches = [str(source.dataset[BRANCH].values.reshape(-1)[0]) for source in sources]
    summaries = [
        measure(source.dataset, branch=branch) for source, branch in zip(sources, branches, strict=True)
    ]
    names = [source.name for source in sources]
    yield headline_table(names, summaries)
    for name, summary in zip(names, summaries, strict=True):
        before = f"{name}: " if len(names) > 1 else ""
        for note in controls_note(summary):
            yield page.tag("p", page.text(before + note), class_="note")
    if len(sources) == 2 and all(has_cuts(source.dataset) for source in sources):
        yield from difference_table(*sources, branches=branches)
    drawn = [
        _profile(source, branch)
        for source, branch in zip(sources, branches, strict=True)
        if has_cuts(source.dataset) and source.dataset.sizes.get(LAYER, 1) > 1
    ]
    yield page.tag("div", *drawn, class_="profiles")


def _profile(source: Source, branch: str) -> str:
    from attnscope import plots

    curves: Document = dict(layer_curves(source.dataset, branch=branch))
    figure = plots.plot_profile(**curves, title=f"{source.name}: through the layers")
    with TemporaryDirectory() as folder:
        (drawn,) = plots.save_figure(figure, Path(folder) / "profile.svg")
        picture = drawn.read_bytes()
    words = f"contrast and correlations of {source.name} through the layers"
    return page.tag("img", src=page.data_uri("image/svg+xml", picture), alt=words, class_="profile")


def _what_is_there(packed: Sequence[Packed]) -> str:
    worst = max(each.index["precision"] for each in packed)
    sentences = [
        f"Shares are within {100 * worst:.2g} % of what was measured.",
        "Point at a head to see its map, click to pin it; point at a map to read a share.",
    ]
    for each in packed:
        for what, num in each.index["left_out"].items():
            if num:
                sentences.append(f"{num} {what} of {each.index['name']} are left out for want of room.")
    return " ".join(sentences)


def _films(sources: Sequence[Source]) -> Iterator[str]:
    strips: list[str] = []
    for source in sources:
        for place, film in enumerate(source.films):
            if film is not None and len(strips) < _MOST_STRIPS:
                strips.append(_strip(source, place, strip_png(film, _cuts_of(source.dataset, place))))
    if strips:
        yield page.tag("h2", "The films")
        yield page.tag("p", "A wide gap is a cut of the plan.", class_="note")
        yield page.tag("div", *strips, class_="films")
        num = sum(film is not None for source in sources for film in source.films)
        if num > _MOST_STRIPS:
            yield page.tag("p", page.text(f"{num - _MOST_STRIPS} more are not shown."), class_="note")


def _strip(source: Source, place: int, png: bytes) -> str:
    said = str(source.dataset["text"].values.reshape(-1)[place]) if "text" in source.dataset.coords else ""
    words = f"{source.name}, film {place}: {said}"
    picture = page.tag("img", src=page.data_uri("image/png", png), alt=words, class_="strip")
    return page.tag("figure", picture, page.tag("figcaption", page.text(words)))


def _cuts_of(dataset: xr.Dataset, place: int) -> list[int]:
    """The cuts of a film in video frames."""
    if not has_cuts(dataset):
        return []
    shots = dataset["query_shot"]
    row = shots.isel(prompt=place).values if PROMPT in shots.dims else shots.values
    starts = dataset["query_start_frame"].values
    return [int(starts[frame]) for frame in range(1, len(row)) if row[frame] != row[frame - 1]]


def _provenance(source: Source) -> str:
    facts: Document = dict(source.dataset.attrs)
    rows = [
        page.tag(
            "tr", page.tag("td", page.text(name)), page.tag("td", page.text(_plain(value)), class_="text")
        )
        for name, value in facts.items()
    ]
    head = page.tag("tr", page.tag("th", page.text(source.name)), page.tag("th", ""))
    return page.tag("div", page.tag("table", head, *rows, class_="numbers"), class_="wide")


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
