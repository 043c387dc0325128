"""A page to look at a dataset: of every clip its shots, the frames taken out, what was measured, why it was dropped.

One HTML file without a script and without anything to load. Whatever comes out of a row is escaped, and the page itself
forbids its browser to run or fetch anything: a caption is text that somebody else wrote.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from attnscope._types import Frames
from attnscope.dataset.published.facts import Facts, read_facts
from attnscope.dataset.published.tables import read_clips, read_sources
from attnscope.dataset.rows import Clip
from attnscope.errors import AttnscopeError
from attnscope.storage.confined import confine
from attnscope.storage.disk import write_durably
from attnscope.video.decoding import VideoFile
from attnscope.video.scaling import Scaler, fill
from attnscope.video.stills import embed_jpeg
from attnscope.video.streams import FileVideo

PAGE = "inspect.html"
"""How the page of a dataset is called."""

_HEIGHT, _MOST_WIDTH = 72, 128  # of a picture: three shots stand side by side
_PER_SHOT, _PER_REMOVED = 3, 3  # pictures
_BAND_WIDTH = 1200  # units of the drawing below a clip, which is as wide as the page

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --quiet: #66707b; --line: #d9dee3; --paper: #ffffff; --gone: #b45309;
        --shot: #3b6fd4; --other: #8fb0ea; --none: #eef1f4; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --quiet: #98a2ad; --line: #343b43; --paper: #15181c;
        --gone: #f5a04a; --shot: #7aa2ff; --other: #3d5688; --none: #22272d; } }
body { font: 14px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1240px;
       margin: 24px auto; padding: 0 20px; overflow-wrap: anywhere; }
h1 { font-size: 20px; margin: 0 0 4px; } h2 { font-size: 15px; margin: 32px 0 2px; } h3 { font-size: 13px; margin: 0; }
p { margin: 0 0 6px; } .quiet { color: var(--quiet); } .gone { color: var(--gone); }
.shots { display: flex; flex-wrap: wrap; gap: 14px; margin: 8px 0; } .shot { flex: 0 1 auto; max-width: 100%; }
.strip { display: flex; gap: 2px; } .strip img { display: block; max-width: 100%; height: auto; }
.shot p { max-width: 600px; margin: 2px 0 0; }
svg { display: block; width: 100%; height: 12px; }
table { border-collapse: collapse; } td, th { text-align: left; padding: 2px 16px 2px 0; vertical-align: top; }
"""


def write_page(
    folder: Path, path: Path, *, films: Path | None = None, most_clips: int = 100, most_dropped: int = 200
) -> Path:
    """Write the page; returns its path.

    Parameters
    ----------
    folder : Path
        The dataset.
    path : Path
        Where the page goes.
    films : Path, optional
        Where the films lie: then the frames that were taken out are shown, not only named.
    most_clips, most_dropped : int
        How many clips, and how many dropped candidates, are on it.

    Raises
    ------
    InputError
        The folder holds no dataset.
    """
    facts = read_facts(folder)
    clips = islice(read_clips(folder), most_clips)
    dropped = (clip for clip in read_clips(folder, decision=None) if clip.decision == "dropped")
    failed = [(row.file, row.error or "") for row in read_sources(folder) if row.status == "failed"]
    body = [
        _head(facts, min(most_clips, facts.num_clips)),
        *(_section(clip, folder, films) for clip in clips),
        "<h2>Candidates that were dropped</h2>",
        _table(("film", "frames", "reasons"), map(_list_dropped, islice(dropped, most_dropped))),
        "<h2>Films that could not be used</h2>",
        _table(("film", "reason"), iter(failed)),
    ]
    write_durably(path, _document("\n".join(body)).encode("utf-8"))
    return path


def _document(body: str) -> str:
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode("ascii")
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><title>Dataset</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n'
        f"<body>{body}</body></html>\n"
    )


def _head(facts: Facts, num_shown: int) -> str:
    counts = {
        "clips": facts.num_clips,
        "shots": facts.num_shots,
        "films": facts.num_sources,
        "films that could not be used": facts.num_failed,
        "candidates": facts.num_candidates,
        "frames taken out": facts.num_removed_frames,
        "clips on this page": num_shown,
    }
    words = [f"{name}: {number}" for name, number in counts.items()]
    unjudged = (
        "" if facts.unjudged is None else f'<p class="quiet">Not judged: {html.escape(facts.unjudged)}</p>'
    )
    return f"<h1>Clips of several shots</h1><p>{' · '.join(words)}</p>{unjudged}"


def _section(clip: Clip, folder: Path, films: Path | None) -> str:
    title = f"<h2>{html.escape(clip.clip_id)} <span class='quiet'>{html.escape(clip.file)}</span></h2>"
    caption = "" if clip.caption is None else f"<p>{html.escape(clip.caption)}</p>"
    if clip.caption_state == "failed":
        caption = f'<p class="gone">no caption: {html.escape(clip.caption_reason or "")}</p>'
    try:
        shots = "".join(_shots(clip, folder))
    except AttnscopeError as error:
        shots = f'<p class="gone">{html.escape(str(error))}</p>'
    removed = "".join(_draw_removed(clip, films))
    facts = f'<p class="quiet">{html.escape(_facts(clip))}</p>'
    return f'<section>{title}{facts}{caption}<div class="shots">{shots}{removed}</div>{_band(clip)}</section>'


def _facts(clip: Clip) -> str:
    words = [
        f"{clip.num_frames} frames, {clip.duration_s:.2f} s",
        f"{clip.width} x {clip.height}",
        f"likeness {' '.join(f'{each:.2f}' for each in clip.likeness) or '-'}",
        f"motion {clip.motion:.1f}",
        f"contrast {clip.contrast:.1f}",
        "not judged" if clip.aesthetic is None else f"aesthetic {clip.aesthetic:.3f}",
    ]
    return " · ".join(words)


def _shots(clip: Clip, folder: Path) -> Iterator[str]:
    video = FileVideo(confine(folder, clip.uri))
    height, width = _size(video.size)
    for number, shot in enumerate(clip.shots, 1):
        indices = _spread(shot.start_frame, shot.stop_frame, _PER_SHOT)
        pictures = [
            picture for batch in video.batches(indices, height=height, width=width) for picture in batch
        ]
        text = "" if shot.caption is None else f"<p>{html.escape(shot.caption)}</p>"
        name = f"Shot {number}: frames {shot.start_frame} to {shot.stop_frame - 1}"
        yield f'<div class="shot"><h3>{name}</h3>{_strip(indices, pictures)}{text}</div>'


def _draw_removed(clip: Clip, films: Path | None) -> Iterator[str]:
    for each in clip.removed:
        name = f"Taken out, {each.kind}: frames {each.start_frame} to {each.stop_frame - 1} of the film"
        strip = ""
        if films is not None:
            indices = _spread(each.start_frame, each.stop_frame, _PER_REMOVED)
            try:
                strip = _strip(indices, _read(clip, films, indices))
            except AttnscopeError as error:
                strip = f'<p class="gone">{html.escape(str(error))}</p>'
        yield f'<div class="shot"><h3 class="gone">{html.escape(name)}</h3>{strip}</div>'


def _read(clip: Clip, films: Path, indices: Sequence[int]) -> list[Frames]:
    """Read a few frames out of the film itself."""
    video, scaler = VideoFile(confine(films, clip.file)), Scaler()
    height, width = _size(video.size)
    pictures = video.stretch(indices[0], indices[-1] + 1, fps=clip.plan().fps, first_stamp=clip.first_stamp)
    return [
        fill(scaler, picture, height, width)
        for frame, picture in enumerate(pictures, start=indices[0])
        if frame in indices
    ]


def _strip(indices: Sequence[int], pictures: Sequence[Frames]) -> str:
    images = "".join(
        f'<img alt="frame {index}" width="{picture.shape[1]}" height="{picture.shape[0]}" src="{embed_jpeg(picture)}">'
        for index, picture in zip(indices, pictures, strict=True)
    )
    return f'<div class="strip">{images}</div>'


def _band(clip: Clip) -> str:
    """The candidate in its film: shots in turns of two colours, what was taken out in a third."""
    span = clip.stop_frame - clip.start_frame

    def draw(start: int, stop: int, colour: str) -> str:
        left, right = (round(_BAND_WIDTH * (frame - clip.start_frame) / span, 1) for frame in (start, stop))
        size = f'x="{left}" width="{max(0.5, right - left):.1f}" height="1"'
        return f'<rect {size} fill="var(--{colour})"/>'

    parts = [draw(clip.start_frame, clip.stop_frame, "none")]
    for number, shot in enumerate(clip.shots):
        parts.append(draw(shot.source_start_frame, shot.source_stop_frame, "other" if number % 2 else "shot"))
    parts += [draw(each.start_frame, each.stop_frame, "gone") for each in clip.removed]
    frames = f"frames {clip.start_frame} to {clip.stop_frame - 1} of the film"
    view = f'viewBox="0 0 {_BAND_WIDTH} 1" preserveAspectRatio="none"'
    return f'<svg {view} role="img" aria-label="{frames}">{"".join(parts)}</svg><p class="quiet">{frames}</p>'


def _list_dropped(clip: Clip) -> tuple[str, ...]:
    return clip.file, f"{clip.start_frame} to {clip.stop_frame - 1}", "; ".join(clip.reasons)


def _table(columns: Sequence[str], rows: Iterator[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    lines = ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>" if lines else '<p class="quiet">None.</p>'


def _size(size: tuple[int, int]) -> tuple[int, int]:
    height, width = size
    return _HEIGHT, int(np.clip(round(_HEIGHT * width / height), 16, _MOST_WIDTH))


def _spread(start: int, stop: int, most: int) -> list[int]:
    """A few frames of a stretch, with its first and its last."""
    return sorted({round(frame) for frame in np.linspace(start, stop - 1, min(most, stop - start))})
