"""Read a list of videos: what each was asked to show, and which method made it."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypedDict

from attnscope._types import Crop
from attnscope.errors import InputError, ShotPlanError, quote
from attnscope.metrics.scoring.requests import Request, require_inside, require_whole
from attnscope.shots.text import parse_spec
from attnscope.video.display import NO_CROP
from attnscope.video.names import is_video_name, printable

BORDER: Crop = (0.13, 0.04, 0.04, 0.04)
"""What hides the dashed frame that the authors of CineTrans drew on some clips: its colour tells the shot."""

_SPAN = re.compile(r"\[\s*([\d.]+)\s*s?,\s*([\d.]+)\s*s?\]")
_YES, _NO = ("yes", "true", "1"), ("no", "false", "0", "")


class _Cuts(TypedDict, total=False):
    """Where cuts were asked for, in one of two units."""

    cuts_s: tuple[Fraction, ...]
    cuts_frame: tuple[int, ...]
    stop_s: Fraction
    stop_frame: int


@dataclass(frozen=True)
class Listed:
    """One video of a list.

    ``cuts_s`` or ``cuts_frame`` are where cuts were asked for, ``stop_s`` or ``stop_frame`` where the last shot ends if
    the shots are those of the whole video; ``marked_cuts_frame`` where people saw cuts.
    """

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
    stop_s: Fraction | None = None
    stop_frame: int | None = None
    captions: tuple[str, ...] = ()

    def request_at(self, fps: Fraction, num_frames: int | None = None) -> Request:
        """Put what was asked for on the frame clock of the video: a cut goes to the nearest frame.

        With ``num_frames`` it is held against the length of the video. Times out of a caption may be for a longer one:
        a cut behind the end is then a cut that was not made, and the request says so.

        Raises
        ------
        VideoError
            Shots or marks are those of another video.
        """
        frames, cuts_s, stop_s = self.cuts_frame, self.cuts_s, self.stop_s
        if frames is not None:
            cuts_s = tuple(frame / fps for frame in frames)
            stop_s = None if self.stop_frame is None else self.stop_frame / fps
        elif cuts_s is not None:
            frames = tuple(round(cut * fps) for cut in cuts_s)
        notes: tuple[str, ...] = ()
        if num_frames is not None:
            require_inside(self.marked_cuts_frame or (), num_frames, "marked_cut_frames")
            if stop_s is not None:
                require_whole(stop_s, num_frames, fps)
                require_inside(frames or (), num_frames, "shots")
            elif frames and frames[-1] >= num_frames:
                notes = (f"a cut was asked for at frame {frames[-1]} of {num_frames}, behind the end",)
        return Request(frames, self.num_shots, self.caption, cuts_s, notes)


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
        if os.path.isdir(place):
            found.update(
                (path, printable(path.relative_to(place).as_posix())) for path in _videos_below(place)
            )
        elif os.path.lexists(place):
            found[place] = printable(place.name)
        else:
            raise InputError(
                expected="video files or folders",
                got=f"{quote(printable(place))}, which does not exist",
                where="among the places to score",
                remedy="check the path",
            )
    if not found:
        raise InputError(
            expected="at least one video, by its ending (.mp4, .mkv, .webm and their like)",
            got="none",
            where=f"in {quote(', '.join(map(printable, places)))}",
            remedy="name another folder",
        )
    asked = _read_cuts({"shots": shots or ""}, "the shots asked for")
    twice = {name for name, count in Counter(found.values()).items() if count > 1}
    return [Listed(path, printable(path) if name in twice else name, **asked) for path, name in found.items()]


def count_left_out(places: Iterable[Path]) -> dict[str, int]:
    """Count the files in folders that are not taken for videos, by their endings, the most frequent first."""
    inside = (path for place in places if os.path.isdir(place) for path in place.rglob("*"))
    left = Counter(
        printable(path.suffix.lower()) or "(no ending)"
        for path in inside
        if not is_video_name(path) and os.path.isfile(path)
    )
    return dict(sorted(left.items(), key=lambda each: (-each[1], each[0])))


def _videos_below(folder: Path) -> list[Path]:
    # by their bytes: names that are no text have an order, too
    found = sorted(folder.rglob("*"), key=os.fsencode)
    return [path for path in found if is_video_name(path) and os.path.isfile(path)]


def read_manifest(manifest: Path, places: Sequence[Path]) -> list[Listed]:
    """Read a manifest, a CSV table with a line for each video, and find its files below the places.

    ``file`` is asked for, everything else may be missing or empty: ``method`` and ``group`` say which line of the
    tables the video counts for; ``shots`` as on the command line ("0-1s,1-2.5s", or in frames), or
    ``requested_times_s`` ("[0,1] [1,2.5]"), or ``requested_shots``, their number alone; ``caption``, and ``captions``,
    one a shot with | between; ``marked_cut_frames``, seen by people; ``bordered`` (yes: the border that CineTrans drew
    is cut off).

    Raises
    ------
    InputError
        The manifest cannot be read or names a file that is not there; the message has the line.
    """
    listed, refused = read_usable_lines(manifest, places)
    if refused:
        raise refused[0]
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


def read_usable_lines(manifest: Path, places: Sequence[Path]) -> tuple[list[Listed], list[InputError]]:
    """Read what can be used of a manifest, and for every other line the error that says why it cannot.

    Raises
    ------
    InputError
        The manifest as a whole cannot be read.
    """
    roots = [place if os.path.isdir(place) else place.parent for place in places] or [manifest.parent]
    listed, refused = [], []
    for number, row in enumerate(_read_rows(manifest), 2):
        try:
            listed.append(_listed(row, f"line {number} of {manifest}", roots))
        except InputError as error:
            refused.append(error)
    return listed, refused


def _read_rows(manifest: Path) -> list[dict[str, str | None]]:
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
    return rows


def _listed(row: Mapping[str, str | None], where: str, roots: Iterable[Path]) -> Listed:
    cells = {name: (value or "").strip() for name, value in row.items() if isinstance(value, str | None)}
    name = cells["file"]
    path = next((root / name for root in roots if name and os.path.isfile(root / name)), None)
    if path is None:
        raise InputError(
            expected="a file",
            got=f"{quote(name)}, which is not there",
            where=f"in {where}",
            remedy="check the path",
        )
    return Listed(
        path,
        printable(name),
        cells.get("method") or None,
        cells.get("group") or None,
        _read_num_shots(cells, where),
        marked_cuts_frame=_read_marks(cells, where),
        caption=cells.get("caption") or None,
        crop=BORDER if _read_yes_or_no(cells, "bordered", where) else NO_CROP,
        **_read_cuts(cells, where),
        captions=tuple(part.strip() for part in cells.get("captions", "").split("|") if part.strip()),
    )


def _read_cuts(cells: Mapping[str, str], where: str) -> _Cuts:
    """Cuts in seconds, or in frames, and where shots of the whole video end."""
    if spec := cells.get("shots"):
        try:
            spans, unit = parse_spec(spec)
        except ShotPlanError as error:
            raise InputError(f"{error} ({where})") from error
        starts, stop = [start for start, _ in spans[1:]], spans[-1][1]
        if unit == "s":
            return {"cuts_s": tuple(map(Fraction, starts)), "stop_s": Fraction(stop)}
        return {"cuts_frame": tuple(map(int, starts)), "stop_frame": int(stop)}
    if times := cells.get("requested_times_s"):
        spans_s = [(Fraction(start), Fraction(stop)) for start, stop in _SPAN.findall(times)]
        if not spans_s or _SPAN.sub("", times).strip():
            raise InputError(
                expected="times as [0,1] [1,2.5]",
                got=f"{quote(times)} as requested_times_s",
                where=f"in {where}",
                remedy="write them so",
            )
        return {"cuts_s": tuple(start for start, _ in spans_s[1:])}
    return {}


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
