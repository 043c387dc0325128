"""A page to look at: every video as a strip of frames, with the cuts that were asked for and those that were found.

One HTML file without a script and without anything to load: it can be mailed, and it stays readable.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from attnscope._types import Frames
from attnscope.errors import VideoError
from attnscope.metrics.scoring.manifests import Listed
from attnscope.metrics.scoring.score import Row
from attnscope.storage.disk import write_durably
from attnscope.video.stills import embed_jpeg
from attnscope.video.streams import FileVideo

_NUM_FRAMES = 12
_HEIGHT = 72
_MOST_WIDTH = 160
_WIDTH, _BAND, _CURVE = 1200, 16, 48  # of the drawing below a strip

_COLOURS = {
    "asked": "cut asked for",
    "found": "cut found; shaded: dissolve",
    "marked": "cut marked by people",
    "quiet": "probability that a shot ends",
}

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --quiet: #66707b; --line: #d9dee3; --paper: #ffffff;
        --asked: #b45309; --found: #1d4ed8; --marked: #15803d; --shot: #eef1f4; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --quiet: #98a2ad; --line: #343b43; --paper: #15181c;
        --asked: #f5a04a; --found: #7aa2ff; --marked: #58c27d; --shot: #22272d; } }
body { font: 14px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1240px;
       margin: 24px auto; padding: 0 20px; }
h1 { font-size: 20px; margin: 0 0 4px; } h2 { font-size: 14px; margin: 28px 0 2px; }
p { margin: 0 0 8px; color: var(--quiet); } .failed { color: var(--asked); }
.strip { display: flex; width: 100%; } .strip img { flex: 1 1 0; min-width: 0; display: block; }
svg { display: block; width: 100%; height: auto; } svg text { fill: var(--quiet); font: 11px system-ui, sans-serif; }
.key { display: inline-block; margin-right: 16px; } .key b { display: inline-block; width: 14px; height: 3px;
       margin-right: 6px; vertical-align: middle; }
"""


def write_contact_sheet(path: Path, listed: Sequence[Listed], rows: Sequence[Row]) -> Path:
    """Write the page; returns its path. Videos that failed stand there with their reason."""
    keys = "".join(
        f'<span class="key"><b style="background: var(--{colour})"></b>{words}</span>'
        for colour, words in _COLOURS.items()
    )
    failed = sum(row["status"] != "ok" for row in rows)
    head = f"{len(rows)} videos" + (f", {failed} of them failed" if failed else "")
    body = "\n".join(_section(each, row) for each, row in zip(listed, rows, strict=True))
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Contact sheet</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n'
        f"<body><h1>Contact sheet</h1><p>{head}</p><p>{keys}</p>\n{body}\n</body></html>\n"
    )
    write_durably(path, page.encode())
    return path


def _section(each: Listed, row: Row) -> str:
    title = f"<h2>{html.escape(each.name)}</h2>"
    if row["status"] != "ok":
        return f'<section>{title}<p class="failed">{html.escape(row["error"])}</p></section>'
    try:
        frames = _frames(each, row)
    except VideoError as error:  # it was there when it was scored
        return f'<section>{title}<p class="failed">{html.escape(str(error))}</p></section>'
    strip = "".join(f'<img alt="frame {index}" src="{embed_jpeg(picture)}">' for index, picture in frames)
    return f'<section>{title}<p>{_facts(row)}</p><div class="strip">{strip}</div>{_drawing(row)}</section>'


def _facts(row: Row) -> str:
    words = [row.get("method"), f"{row['num_frames']} frames at {row['fps']:g} fps"]
    num = row["num_shots_detected"]
    shots = f"{num} shot{'s' if num != 1 else ''}"
    asked = row["num_shots_requested"]
    words.append(shots if asked is None else f"{shots}, {asked} asked for")
    for name, label in (("transition_control", "transition control"), ("soft_control", "soft control")):
        if row[name] is not None and row[name] == row[name]:
            words.append(f"{label} {row[name]:.2f}")
    return html.escape(" · ".join(str(word) for word in words if word))


def _frames(each: Listed, row: Row) -> list[tuple[int, Frames]]:
    """Frames at even distance, each in the middle of its stretch, so that a strip and the drawing below agree."""
    height, width = row["height"], row["width"]
    wide = min(_MOST_WIDTH, max(16, round(_HEIGHT * width / height)))
    num = min(_NUM_FRAMES, row["num_frames"])
    indices = [int((k + 0.5) * row["num_frames"] / num) for k in range(num)]
    video = FileVideo(each.path, crop=each.crop)
    pictures = [picture for batch in video.batches(indices, height=_HEIGHT, width=wide) for picture in batch]
    return list(zip(indices, pictures, strict=True))


def _drawing(row: Row) -> str:
    """The shots as a band, the probability as a curve, the cuts as lines: asked above, found across, marked below."""
    num_frames: int = row["num_frames"]
    height = _BAND + _CURVE + 34

    def at(frame: float) -> float:
        return round(float(_WIDTH * frame / num_frames), 1)

    edges = [0, *row["cuts_detected_frame"], num_frames]
    parts = [
        f'<rect x="{at(start)}" y="18" width="{max(0.0, round(at(stop) - at(start) - 1, 1))}" height="{_BAND}" '
        f'fill="var(--shot)"/>'
        for start, stop in pairwise(edges)
    ]
    floor = 18 + _BAND + _CURVE
    if row["probabilities"]:
        curve = _curve(row["probabilities"], at, floor)
        parts.append(f'<polyline points="{curve}" fill="none" stroke="var(--quiet)" stroke-width="1"/>')
        limit = round(floor - row["threshold"] * _CURVE, 1)
        parts.append(
            f'<line x1="0" x2="{_WIDTH}" y1="{limit}" y2="{limit}" stroke="var(--line)" stroke-dasharray="4 4"/>'
        )
    for each in row["transitions"]:
        wide = round(at(each["stop_frame"]) - at(each["start_frame"]), 1)
        if wide > 0:
            parts.append(
                f'<rect x="{at(each["start_frame"])}" y="18" width="{wide}" height="{_BAND + _CURVE}" '
                f'fill="var(--found)" opacity="0.25"/>'
            )
    parts += _lines(row["cuts_detected_frame"], at, (18, floor), "found", label_y=floor + 12)
    parts += _lines(row["cuts_requested_frame"] or [], at, (4, 18 + _BAND), "asked", label_y=12)
    parts += _lines(row["cuts_marked_frame"] or [], at, (floor, floor + 8), "marked")
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="cuts">{"".join(parts)}</svg>'


def _curve(values: Sequence[float], at: Callable[[float], float], floor: int) -> str:
    """Points of the curve; of a long film the highest value of each stretch, so that no cut is lost."""
    step = max(1, len(values) // _WIDTH)
    highest = [max(values[start : start + step]) for start in range(0, len(values), step)]
    return " ".join(
        f"{at(k * step + 1)},{round(floor - value * _CURVE, 1)}" for k, value in enumerate(highest)
    )


def _lines(
    frames: Iterable[int],
    at: Callable[[float], float],
    span: tuple[int, int],
    colour: str,
    label_y: int | None = None,
) -> list[str]:
    parts = []
    for frame in frames:
        x = at(frame)
        line = f'<line x1="{x}" x2="{x}" y1="{span[0]}" y2="{span[1]}" stroke="var(--{colour})" stroke-width="2"/>'
        parts.append(line)
        if label_y is not None:
            late = x > _WIDTH - 40
            anchor = ' text-anchor="end"' if late else ""
            parts.append(f'<text x="{x - 4 if late else x + 4}" y="{label_y}"{anchor}>{frame}</text>')
    return parts
