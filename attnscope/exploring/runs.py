"""write_runs: all stores below a folder as one table that sorts."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import xarray as xr

from attnscope._types import Document
from attnscope.errors import AttnscopeError, StoreError
from attnscope.exploring import page
from attnscope.exploring.films import find_films, read_films, strip_png
from attnscope.ranges import format_range
from attnscope.schema import BRANCH, KEY_FRAME, LAYER, MASS, PROMPT, QUERY_FRAME, STEP
from attnscope.storage.root import ROOT_FILE
from attnscope.structure.headline import measure

_NUMBERS = (
    ("adjusted_contrast", "adjusted contrast"),
    ("adjusted_r", "adjusted r"),
    ("p", "p"),
    ("contrast", "contrast"),
    ("contrast_distance_only", "by distance alone"),
    ("own_shot_mass", "stays in the shot"),
    ("first_frame_sink", "pull of frame 0"),
)
_MAP_PIXELS = 76


@dataclass(frozen=True)
class Run:
    """One line of the table: a store, what it is of, its numbers and pictures; or why it cannot be read."""

    name: str
    facts: Document
    map_png: bytes = b""
    strip_png: bytes = b""
    trouble: str = ""


def write_runs(folder: str | PathLike[str], path: str | PathLike[str]) -> Path:
    """Write every store below a folder into one page: a table that sorts by a click, with the map and film of each.

    The map is the mean over films, steps, layers and heads. A store that cannot be read has a line that says why.

    Raises
    ------
    StoreError
        There is no store below the folder.
    InputError
        The name of the page does not end in .html.
    SetupError
        It cannot be written.
    """
    root = Path(folder)
    stores = find_stores(root)
    if not stores:
        raise StoreError(
            expected="a store, or a folder with stores below it",
            got="none",
            where=f"at {root}",
            remedy="give what attnscope probe wrote to --out",
        )
    runs = [_read_run(store, root) for store in stores]
    body = [
        page.tag("h1", page.text(root.resolve().name)),
        page.tag(
            "p",
            page.text(f"{len(runs)} run{'s' * (len(runs) > 1)}. A click on a column sorts by it."),
            class_="lead",
        ),
        page.tag("div", _table(runs), class_="wide"),
    ]
    written = page.page(
        root.resolve().name, *body, styles=("explorer.css", "report.css"), scripts=("runs.js",)
    )
    return page.write_page(path, written)


def find_stores(folder: Path) -> list[Path]:
    """Find all stores below a folder, by name."""
    found = (path.parent for path in folder.rglob(ROOT_FILE))
    return sorted(path for path in found if path.suffix == ".zarr")


def _read_run(store: Path, root: Path) -> Run:
    from attnscope.storage import open_store

    name = str(store.relative_to(root)).removesuffix(".zarr").removesuffix("/attention")
    try:
        dataset = open_store(store)
        branch = str(dataset[BRANCH].values[0])
        films = [path for path in find_films(store, 1) if path is not None]
        strip = strip_png(read_films(films[0], 1)[0], num_pictures=6) if films else b""
        return Run(name, _facts(dataset, branch), _map_png(dataset.sel({BRANCH: branch})), strip)
    except AttnscopeError as error:
        return Run(name, {}, trouble=str(error))


def _facts(dataset: xr.Dataset, branch: str) -> Document:
    facts = measure(dataset, branch=branch)
    return {
        "model": str(dataset.attrs.get("model", "")),
        "layers": format_range(dataset[LAYER].values.tolist()),
        "films": dataset.sizes[PROMPT],
        "steps": dataset.sizes[STEP],
        "text": str(dataset["text"].values[0]),
        **{name: facts[name] for name, _ in _NUMBERS},
        "interval": facts["adjusted_contrast_ci"],
    }


def _map_png(dataset: xr.Dataset) -> bytes:
    """Draw the mean map, one pixel for each pair of frames, in the colours of the explorer."""
    from PIL import Image

    from attnscope.plots import colour_table

    over = [dim for dim in dataset[MASS].dims if dim not in (QUERY_FRAME, KEY_FRAME)]
    mass = dataset[MASS].mean(over, skipna=True, dtype=np.float64).transpose(QUERY_FRAME, KEY_FRAME).values
    with np.errstate(divide="ignore"):
        logs = np.log(mass)
    known = logs[np.isfinite(logs)]
    low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
    levels = np.clip(1 + 253 * (logs - low) / max(high - low, 1e-9), 0, 254)
    table = np.frombuffer(colour_table("mass"), np.uint8).reshape(256, 3)
    colours = table[np.where(np.isnan(logs), 255, np.nan_to_num(levels, neginf=0)).astype(np.uint8)]
    target = io.BytesIO()
    Image.fromarray(colours).save(target, "PNG")
    return target.getvalue()


def _table(runs: Sequence[Run]) -> str:
    columns = ["run", "model", "layers", "films", "steps", *(words for _, words in _NUMBERS)]
    heads = [page.tag("th", "map"), page.tag("th", "first film"), *map(_head_that_sorts, columns)]
    body = [page.tag("tr", *_cells(run)) for run in runs]
    return page.tag(
        "table",
        page.tag("thead", page.tag("tr", *heads)),
        page.tag("tbody", *body),
        class_="numbers sorts",
    )


def _head_that_sorts(words: str) -> str:
    return page.tag("th", page.tag("button", page.text(words), type="button"), scope="col")


def _cells(run: Run) -> Iterator[str]:
    for png, kind in ((run.map_png, "map"), (run.strip_png, "strip small")):
        words = f"{kind.split()[0]} of {run.name}"
        shown = page.tag("img", src=page.data_uri("image/png", png), alt=words, class_=kind) if png else "–"
        yield page.tag("td", shown, data_sort="")
    said = page.tag("div", page.text(run.trouble or str(run.facts.get("text", ""))[:90]), class_="note")
    yield page.tag("td", page.text(run.name) + said, data_sort=run.name)
    for name in ("model", "layers", "films", "steps"):
        yield _cell(run.facts.get(name))
    for name, _ in _NUMBERS:
        yield _cell(
            run.facts.get(name), run.facts["interval"] if name == "adjusted_contrast" and run.facts else None
        )


def _cell(value: object, ends: Sequence[float | None] | None = None) -> str:
    sort = "" if value is None else str(value)
    shown = page.text(page.cell(value))
    if ends is not None and None not in ends:
        shown += page.tag("div", page.text(" to ".join(page.cell(end) for end in ends)), class_="note")
    return page.tag("td", shown, data_sort=sort)
