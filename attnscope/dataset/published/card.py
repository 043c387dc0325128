"""The card of a dataset, as the Hugging Face Hub reads it: what it is, how it was made, what it does not say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from attnscope.dataset.published.facts import Facts
from attnscope.storage.disk import write_durably

CARD = "README.md"
"""How the card is called."""

_COLUMNS = {
    "clip_id, source_id, file": "which clip of which film",
    "start_frame, stop_frame": "the candidate's frames in the film, from 0, half-open",
    "fps, width, height, num_frames, duration_s": "what the clip's file is",
    "shots": "for each shot its frames in the clip and in the film, from 0, half-open, and its caption",
    "removed": "frames of the film that were taken out, and why: a transition, black or white, too short for a shot",
    "likeness, motion, contrast, aesthetic": "what was measured; `unjudged` says why there is no aesthetic mark",
    "decision, reasons": "kept or dropped, and every reason against it; nothing was left out",
    "uri, sha256": "the clip's file, below this folder",
    "caption, caption_state, caption_reason, captioner": "what a model said of the whole clip, and which; or why not",
}


def write_card(out: Path, facts: Facts) -> Path:
    """Write the card; returns its path."""
    path = out / CARD
    write_durably(path, render_card(facts).encode("utf-8"))
    return path


def render_card(facts: Facts) -> str:
    """Lay out the card as Markdown with the head that the Hub reads."""
    said = facts.captions.get("ok", 0)
    mean = "" if facts.mean_duration_s is None else f", {facts.mean_duration_s:.1f} s on average"
    settings = {} if facts.settings is None else msgspec.to_builtins(facts.settings)
    return "\n".join(
        [
            _head(facts.num_clips),
            "# Clips of several shots",
            "",
            f"{facts.num_clips} clips with {facts.num_shots} shots{mean}, cut out of {facts.num_sources} films "
            f"({facts.num_failed} of them could not be read) by attnscope {facts.version}. Shots are exact to the "
            f"frame; "
            f"the {facts.num_removed_frames} frames of dissolves and fades inside of them were taken out.",
            "",
            "## What is in it",
            "",
            _table("shots", "clips", facts.clips_by_shots),
            "",
            f"Captions: {said} of {facts.num_clips} clips were captioned by a model"
            + ("." if said == facts.num_clips else "; the others have none, and say why."),
            "",
            "## Why candidates were dropped",
            "",
            _table("first reason", "candidates", facts.dropped),
            "",
            "## Columns of clips.parquet",
            "",
            _table("columns", "what they say", _COLUMNS),
            "",
            "## Settings",
            "",
            "Not known: the clips were taken out of archives."
            if facts.settings is None
            else _table("name", "value", {name: str(value) for name, value in settings.items()}),
            "",
            "## What it does not say",
            "",
            *_limits(facts),
            "",
        ]
    )


def _head(num_clips: int) -> str:
    size = next(name for most, name in _SIZES if num_clips < most)
    lines = ["---", "task_categories:", "- text-to-video", "tags:", "- multi-shot", "- shot-boundaries"]
    return "\n".join([*lines, "size_categories:", f"- {size}", "---", ""])


_SIZES = (
    (1000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**12, "n>1M"),
)


def _limits(facts: Facts) -> list[str]:
    lines = [
        "- Whose films these are and what may be done with them: that is for whoever publishes the dataset to say.",
        "- Cuts were found by a detector, and a few will be missed or seen where there is none.",
        "- Neighbours were joined by how alike two pictures are, which is not whether they belong to one story.",
    ]
    if facts.unjudged is not None:
        lines.append(f"- No clip was chosen by how it looks: {facts.unjudged}.")
    return lines


def _table(name: str, value: str, cells: Mapping[str, object]) -> str:
    if not cells:
        return "None."
    rows = [f"| {_cell(key)} | {_cell(what)} |" for key, what in cells.items()]
    return "\n".join([f"| {name} | {value} |", "|---|---|", *rows])


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
