"""The numbers of a report in tables and sentences: what was measured, and what it is to be held against."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import xarray as xr

from attnscope._types import Document
from attnscope.errors import InputError
from attnscope.exploring import page
from attnscope.exploring.sources import Source, shared_layers
from attnscope.schema import BRANCH, HEAD, LAYER, STEP
from attnscope.structure.headline import LINES

_COMPARED = (("adjusted_contrast", "adjusted contrast, ratio"), ("adjusted_r", "adjusted r, difference"))
_COMPARED = (("adjusted_contrast", "adjusted contrast, ratio"), ("adjusted_r", "adjusted r, difference"))
_CHANGE_NOTE = (
    "Pairs are films of the same prompt; seeds of one prompt are averaged first and count once. There is no interval "
    "below three prompts."
)


def headline_table(names: Sequence[str], summaries: Sequence[Document]) -> str:
    """Write the headline numbers of each store, with their intervals where those hold."""
    columns = ["", *(part for name in names for part in (name if len(names) > 1 else "value", "95 %"))]
    rows = [
        [words, *(part for each in summaries for part in (each[name], _range(each.get(f"{name}_ci"))))]
        for name, words in LINES
    ]
    return page.table(columns, rows)


def _range(ends: Sequence[float | None] | None) -> str | None:
    if ends is None or None in ends:
        return None
    return " to ".join(f"{end:.3g}" for end in ends)


def controls_note(summary: Document) -> Iterator[str]:
    """Say what the numbers are to be held against: the p and its null, or why there is none, and every note."""
    if summary["p"] is not None:
        null = {"exchanged": "films exchange their cuts", "moved": "cuts move within their films"}
        yield (
            f"p = {summary['p']:.3g}: the share of arrangements in which {null[summary['p_null']]} that fit as well; "
            f"the smallest possible is {summary['p_smallest']:.3g}."
        )
    elif summary["p_reason"]:
        yield f"No p: {summary['p_reason']}."
    if summary["contrast"] is not None and summary["contrast_distance_only"] is not None:
        plain, alone = summary["contrast"], summary["contrast_distance_only"]
        yield (
            f"Of the contrast of {plain:.3g}, distance alone makes {alone:.3g}. The adjusted contrast has distance and "
            "the popularity of frames taken out, and 1 is no trace of the cuts."
        )
    yield from (f"{note}." for note in summary["notes"])


def difference_table(first: Source, second: Source, *, branches: Sequence[str]) -> Iterator[str]:
    """Write what differs between two stores, film by film, and how sure that is; or why that cannot be said."""
    from attnscope.structure import compare

    yield page.tag("h2", page.text(f"{second.name} against {first.name}"))
    one, other = _overall_maps(first, second, branches)
    try:
        changes = {name: compare(one, other, name) for name, _ in _COMPARED}
    except InputError as error:
        yield page.tag("p", page.text(f"No paired difference: {error}."), class_="note")
        return
    rows = []
    for name, words in _COMPARED:
        found = changes[name]
        ends = [float(found[end]) for end in ("low", "high")]
        shown = None if any(end != end for end in ends) else _range(ends)
        rows.append([words, *(float(found[each]) for each in ("a", "b", "change")), shown, int(found["num"])])
    yield page.table(["", first.name, second.name, "change", "95 %", "prompts"], rows)
    yield page.tag("p", page.text(_CHANGE_NOTE), class_="note")


def _overall_maps(first: Source, second: Source, branches: Sequence[str]) -> tuple[xr.Dataset, xr.Dataset]:
    """Average each film's maps over steps, heads and the layers that both stores have."""
    from attnscope.structure import mean_map

    shared = shared_layers(first.dataset, second.dataset)
    one, other = (
        mean_map(source.dataset.sel({BRANCH: branch, LAYER: shared}), (STEP, HEAD, LAYER))
        for source, branch in zip((first, second), branches, strict=True)
    )
    return one, other
