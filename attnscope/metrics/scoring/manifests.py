"""Read a list of videos: what each was asked to show, and which method made it."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from attnscope._types import Crop
from attnscope.errors import InputError, ShotPlanError, quote
from attnscope.metrics.scoring.score import Request
from attnscope.shots.text import parse_spec
from attnscope.video.display import NO_CROP

VIDEO_ENDINGS = (".mp4", ".webm", ".mkv", ".mov", ".avi", ".m4v", ".gif")

BORDER: Crop = (0.13, 0.04, 0.04, 0.04)
"""What hides the dashed frame that the authors of CineTrans drew on some clips: its colour tells the shot."""

_SPAN = re.compile(r"\[\s*([\d.]+)\s*s?,\s*([\d.]+)\s*s?\]")
_YES, _NO = ("yes", "true", "1"), ("no", "false", "0", "")


@dataclass(frozen=True)
class Listed:
    """One video of a list. ``cuts_s`` are where cuts were asked for; ``marked_cuts_frame`` where people saw them."""

    path: Path
    name: str
    method: str | None = None
    group: str | None = None
    num_shots: int | None = None
    cuts_s: tuple[Fraction, ...] | None = None
    cuts_frame: tuple[int, ...] | None = None
    marked_cuts_frame: tuple[int, ...] | None = None
    caption: str | None = None
    crop: Crop = NO_CROP

    def request_at(self, fps: Fraction) -> Request:
        """Put what was asked for on the frame clock of the video: a cut goes to the nearest frame."""
        frames = self.cuts_frame
        if frames is None and self.cuts_s is not None:
            frames = tuple(round(cut * fps) for cut in self.cuts_s)
        return Request(frames, self.num_shots, self.caption)


def list_videos(places: Sequence[Path], *, shots: str | None = None) -> list[Listed]:
    """List the video files among files and folders, each once; folders are searched to the bottom.

    ``shots`` is what was asked for in all of them alike, as on the command line.

    Raises
    ------
    InputError
        A place does not exist, or there is no video at all, or the shots cannot be read.
    """
    found: dict[Path, str] = {}
    for place in places:
        if place.is_dir():
            inside = (path for path in sorted(place.rglob("*")) if path.suffix.lower() in VIDEO_ENDINGS)
            found.update((path, path.relative_to(place).as_posix()) for path in inside if path.is_file())
        elif place.exists():
            found[place] = place.name
        else:
            raise InputError(
                expected="video files or folders",
                got=f"{quote(str(place))}, which does not exist",
                where="among the places to score",
                remedy="check the path",
            )
    if not found:
        raise InputError(
            expected=f"at least one video ({', '.join(VIDEO_ENDINGS)})",
            got="none",
            where=f"in {quote(', '.join(map(str, places)))}",
            remedy="name another folder",
        )
    cuts_s, cuts_frame = _read_cuts({"shots": shots or ""}, "the shots asked for")
    return [Listed(path, name, cuts_s=cuts_s, cuts_frame=cuts_frame) for path, name in found.items()]


def read_manifest(manifest: Path, places: Sequence[Path]) -> list[Listed]:
    """Read a manifest, a CSV table with a line for each video, and find its files below the places.

    ``file`` is asked for, everything else may be missing or empty: ``method`` and ``group`` say which line of the
    tables the video counts for; ``shots`` as on the command line ("0-1s,1-2.5s", or in frames), or
    ``requested_times_s`` ("[0,1] [1,2.5]"), or ``requested_shots``, their number alone; ``caption``;
    ``marked_cut_frames``, seen by people; ``bordered`` (yes: the border that CineTrans drew is cut off).

    Raises
    ------
    InputError
        The manifest cannot be read or names a file that is not there; the message has the line.
    """
    try:
        with open(manifest, encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            columns, rows = list(table.fieldnames or []), list(table)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            expected="a manifest, a CSV table",
            got=quote(reason, 100),
            where=f"in {quote(str(manifest))}",
            remedy="check it",
        ) from error
    if "file" not in columns or not rows:
        raise InputError(
            expected="a manifest with a column file and a line for each video",
            got=f"the columns {quote(', '.join(columns))} and {len(rows)} lines",
            where=f"in {manifest}",
            remedy="add them",
        )
    roots = [place if place.is_dir() else place.parent for place in places] or [manifest.parent]
    listed = [_listed(row, f"line {number} of {manifest}", roots) for number, row in enumerate(rows, 2)]
    names = [each.name for each in listed]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(
            expected="every file once",
            got=f"{quote(twice)} {names.count(twice)} times",
            where=f"in {manifest}",
            remedy="leave one",
        )
    return listed


def _listed(row: Mapping[str, str | None], where: str, roots: Iterable[Path]) -> Listed:
    cells = {name: (value or "").strip() for name, value in row.items() if isinstance(value, str | None)}
    name = cells["file"]
    path = next((root / name for root in roots if name and (root / name).is_file()), None)
    if path is None:
        raise InputError(
            expected="a file",
            got=f"{quote(name)}, which is not there",
            where=f"in {where}",
            remedy="check the path",
        )
    cuts_s, cuts_frame = _read_cuts(cells, where)
    return Listed(
        path,
        name,
        cells.get("method") or None,
        cells.get("group") or None,
        _read_num_shots(cells, where),
        cuts_s,
        cuts_frame,
        _read_marks(cells, where),
        cells.get("caption") or None,
        BORDER if _read_yes_or_no(cells, "bordered", where) else NO_CROP,
    )


def _read_cuts(
    cells: Mapping[str, str], where: str
) -> tuple[tuple[Fraction, ...] | None, tuple[int, ...] | None]:
    """Cuts in seconds, or in frames."""
    if spec := cells.get("shots"):
        try:
            spans, unit = parse_spec(spec)
        except ShotPlanError as error:
            raise InputError(f"{error} ({where})") from error
        starts = [start for start, _ in spans[1:]]
        if unit == "s":
            return tuple(Fraction(start) for start in starts), None
        return None, tuple(int(start) for start in starts)
    if times := cells.get("requested_times_s"):
        spans_s = [(Fraction(start), Fraction(stop)) for start, stop in _SPAN.findall(times)]
        if not spans_s or _SPAN.sub("", times).strip():
            raise InputError(
                expected="times as [0,1] [1,2.5]",
                got=f"{quote(times)} as requested_times_s",
                where=f"in {where}",
                remedy="write them so",
            )
        return tuple(start for start, _ in spans_s[1:]), None
    return None, None


def _read_num_shots(cells: Mapping[str, str], where: str) -> int | None:
    text = cells.get("requested_shots", "")
    if text and not (text.isascii() and text.isdigit() and int(text) > 0):
        raise InputError(
            expected="a number of shots from 1",
            got=f"{quote(text)} as requested_shots",
            where=f"in {where}",
            remedy="write for instance 2",
        )
    return int(text) if text else None


def _read_marks(cells: Mapping[str, str], where: str) -> tuple[int, ...] | None:
    text = cells.get("marked_cut_frames", "")
    if not text:
        return () if _read_yes_or_no(cells, "marked", where) else None
    if not all(word.isascii() and word.isdigit() for word in text.split()):
        raise InputError(
            expected="frames with blanks between",
            got=f"{quote(text)} as marked_cut_frames",
            where=f"in {where}",
            remedy="write 30 76",
        )
    return tuple(map(int, text.split()))


def _read_yes_or_no(cells: Mapping[str, str], name: str, where: str) -> bool:
    text = cells.get(name, "").lower()
    if text not in _YES + _NO:
        raise InputError(
            expected="yes or no",
            got=f"{quote(text)} as {name}",
            where=f"in {where}",
            remedy="write one of them",
        )
    return text in _YES
