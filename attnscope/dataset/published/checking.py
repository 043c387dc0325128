"""Check a dataset from its tables to the last frame of its clips; one line for each violation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from attnscope.dataset.export import CLIPS
from attnscope.dataset.published.facts import collect_facts, read_facts
from attnscope.dataset.published.manifest import MANIFEST
from attnscope.dataset.published.tables import read_clips, read_sources
from attnscope.dataset.rows import Clip
from attnscope.errors import AttnscopeError
from attnscope.metrics.scoring.manifests import read_manifest
from attnscope.storage.confined import confine
from attnscope.video.decoding import VideoFile


def validate_dataset(folder: Path, *, decode: bool = True) -> list[str]:
    """Hold a dataset against what its tables promise.

    Rows are sound and name each clip once, and a source that is there; whoever was dropped has a reason and no file,
    whoever was kept has both a file and exact shots; files have the content that was written and, with ``decode``, as
    many frames of the same size; manifest and counts follow from the rows, and nothing lies among the clips that no row
    names.

    Returns
    -------
    list of str
        One line for each violation; none if all is well.
    """
    try:
        facts = read_facts(folder)
        clips = list(read_clips(folder, decision=None))
        sources = {row.source_id for row in read_sources(folder) if row.status == "ok"}
    except AttnscopeError as error:
        return [str(error)]
    found = [line for clip in clips for line in _check_clip(clip, sources, folder, decode=decode)]
    found += _check_names(clips, folder)
    if collect_facts(folder, facts.settings, facts.unjudged) != facts:
        found.append("dataset.json: it counts what the tables do not hold")
    found += _check_manifest([clip for clip in clips if clip.decision == "kept"], folder)
    return found


def _check_clip(clip: Clip, sources: set[str | None], folder: Path, *, decode: bool) -> Iterator[str]:
    where = f"clip {clip.clip_id}"
    if clip.source_id not in sources:
        yield f"{where}: there is no source {clip.source_id}"
    if clip.decision == "dropped":
        if not clip.reasons:
            yield f"{where}: it was dropped without a reason"
        if clip.uri is not None:
            yield f"{where}: it was dropped and has a file"
        return
    if clip.caption_state == "ok" and not (clip.caption and all(shot.caption for shot in clip.shots)):
        yield f"{where}: it is captioned without a caption"
    if clip.caption_state != "ok" and (clip.caption or any(shot.caption for shot in clip.shots)):
        yield f"{where}: it has a caption that nobody gave it"
    if clip.uri is None:
        yield f"{where}: it was kept and has no file"
        return
    try:
        path = confine(folder, clip.uri)
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != clip.sha256:
                yield f"{where}: {clip.uri} is not the file that was written"
                return
        if decode:
            yield from _check_frames(clip, path)
    except AttnscopeError as error:
        yield f"{where}: {error}"


def _check_frames(clip: Clip, path: Path) -> Iterator[str]:
    video = VideoFile(path, fewest=1)
    num_frames = sum(1 for _ in video)
    if num_frames != clip.num_frames:
        yield f"clip {clip.clip_id}: {num_frames} frames, not {clip.num_frames}"
    if video.size != (clip.height, clip.width):
        height, width = video.size
        yield f"clip {clip.clip_id}: {width} x {height} pixels, not {clip.width} x {clip.height}"


def _check_names(clips: list[Clip], folder: Path) -> Iterator[str]:
    seen: set[str] = set()
    for clip in clips:
        if clip.clip_id in seen:
            yield f"clip {clip.clip_id}: it is there twice"
        seen.add(clip.clip_id)
    named = {clip.uri for clip in clips}
    for path in sorted((folder / CLIPS).rglob("*")):
        uri = path.relative_to(folder).as_posix()
        if path.is_file() and uri not in named:
            yield f"{uri}: no row names this file"


def _check_manifest(clips: list[Clip], folder: Path) -> Iterator[str]:
    if not clips:
        return
    try:
        listed = read_manifest(folder / MANIFEST, [folder])
    except AttnscopeError as error:
        yield str(error)
        return
    cuts = {clip.uri: clip.plan().cuts_frame for clip in clips}
    if {each.name: each.cuts_frame for each in listed} != cuts:
        yield f"{MANIFEST}: other files or shots than in clips.parquet"
