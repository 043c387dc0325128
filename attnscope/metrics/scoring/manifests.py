"""Read a list of videos: what each was asked to show, and which method made it."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TypedDict

from attnscope._types import Crop
from attnscope.errors import InputError, ShotPlanError, quote
from attnscope.metrics.scoring.csv_lines import Line, read_lines
from attnscope.metrics.scoring.requests import Request, require_inside, require_whole
from attnscope.shots.text import parse_spec
from attnscope.video.display import NO_CROP
from attnscope.video.names import escape_name, is_video_name

BORDER: Crop = (0.13, 0.04, 0.04, 0.04)
"""What hides the dashed frame that the authors of CineTrans drew on some clips: its colour tells the shot."""

COLUMNS = (
    "file",
    "method",
    "group",
    "shots",
    "requested_times_s",
    "requested_shots",
    "caption",
    "captions",
    "marked_cut_frames",
    "marked",
    "bordered",
    "prompt",
    "width",
    "height",
    "fps",
    "frames",
    "count_source",
    "note",
)
"""What a manifest may hold. The last seven are for the reader alone."""

_NUMBER = r"(\d{1,6}(?:\.\d{0,40})?|\.\d{1,40})"
_SPAN = re.compile(rf"\[\s*{_NUMBER}\s*s?\s*,\s*{_NUMBER}\s*s?\s*\]", re.ASCII)
_WHOLE = re.compile(r"\d{1,9}", re.ASCII)
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
                (path, escape_name(path.relative_to(place).as_posix())) for path in _videos_below(place)
            )
        elif os.path.isfile(place):
            found[place] = escape_name(place.name)
        elif os.path.lexists(place):
            raise InputError(
                expected="video files or folders",
                got=f"{quote(escape_name(place))}, which is neither",
                where="among the places to score",
                remedy="a pipe, a device or a link to nothing cannot be scored, name a file",
            )
        else:
            raise InputError(
                expected="video files or folders",
                got=f"{quote(escape_name(place))}, which does not exist",
                where="among the places to score",
                remedy="check the path",
            )
    if not found:
        raise InputError(
            expected="at least one video, by its ending (.mp4, .mkv, .webm and their like)",
            got="none",
            where=f"in {quote(', '.join(map(escape_name, places)))}",
            remedy="name another folder",
        )
    asked: _Cuts = {} if shots is None else read_shots(shots)
    twice = {name for name, count in Counter(found.values()).items() if count > 1}
    return [
        Listed(path, escape_name(path) if name in twice else name, **asked) for path, name in found.items()
    ]


def count_left_out(places: Iterable[Path]) -> dict[str, int]:
    """Count the files in folders that are not taken for videos, by their endings, the most frequent first."""
    inside = (path for place in places if os.path.isdir(place) for path in place.rglob("*"))
    left = Counter(
        escape_name(path.suffix.lower()) or "(no ending)"
        for path in inside
        if not is_video_name(path) and os.path.isfile(path)
    )
    return dict(sorted(left.items(), key=lambda each: (-each[1], each[0])))


def _videos_below(folder: Path) -> list[Path]:
    # by their bytes: names that are no text have an order, too
    found = sorted(folder.rglob("*"), key=os.fsencode)
    return [path for path in found if is_video_name(path) and os.path.isfile(path)]


def read_manifest(manifest: Path, places: Sequence[Path], *, anywhere: bool = False) -> list[Listed]:
    """Read a manifest, a CSV table with a line for each video, and find its files below the places.

    ``file`` is asked for, everything else may be missing or empty: ``method`` and ``group`` say which line of the
    tables the video counts for; ``shots`` as on the command line ("0-1s,1-2.5s", or in frames), or
    ``requested_times_s`` ("[0,1] [1,2.5]"), or ``requested_shots``, their number alone; ``caption``, and ``captions``,
    one a shot with | between; ``marked_cut_frames``, seen by people; ``bordered`` (yes: the border that CineTrans drew
    is cut off). ``prompt``, ``width``, ``height``, ``fps``, ``frames``, ``count_source`` and ``note`` may stand there
    for the reader.

    Files lie below the places, or below the folder of the manifest where there are none; ``anywhere`` also takes
    absolute paths, and those that lead out with "..".

    Raises
    ------
    InputError
        The manifest cannot be read, names a file that is not there, or contradicts itself; the message has line and
        column.
    """
    listed, refused = read_usable_lines(manifest, places, anywhere=anywhere)
    if refused:
        raise refused[0]
    return listed


def read_usable_lines(
    manifest: Path, places: Sequence[Path], *, anywhere: bool = False
) -> tuple[list[Listed], list[InputError]]:
    """Read what can be used of a manifest, and for every other line the error that says why it cannot.

    Raises
    ------
    InputError
        The manifest as a whole cannot be read.
    """
    roots = [place if os.path.isdir(place) else place.parent for place in places] or [manifest.parent]
    listed: list[Listed] = []
    refused: list[InputError] = []
    first: dict[str, Line] = {}
    for line in read_lines(manifest, needed="file", known=COLUMNS):
        try:
            each = _read_line(line, roots, anywhere)
            _require_new(each, line, first)
            listed.append(each)
        except InputError as error:
            refused.append(error)
    return listed, refused


def _require_new(each: Listed, line: Line, first: dict[str, Line]) -> None:
    before = first.setdefault(os.path.realpath(each.path), line)
    if before is not line:
        raise line.error(
            "file",
            expected="every file once",
            got=f"{quote(line['file'])}, which stands in line {before.number}, too",
            remedy="leave one",
        )


def _read_line(line: Line, roots: Iterable[Path], anywhere: bool) -> Listed:
    cuts = _read_cuts(line)
    num_shots = _read_num_shots(line)
    cuts_asked = cuts.get("cuts_s", cuts.get("cuts_frame"))
    if num_shots is not None and cuts_asked is not None and num_shots != len(cuts_asked) + 1:
        raise line.error(
            "requested_shots",
            expected=f"{len(cuts_asked) + 1} shots, as there are times",
            got=f"{num_shots}",
            remedy="correct one of the two",
        )
    return Listed(
        _find_file(line, roots, anywhere),
        escape_name(line["file"]),
        line["method"] or None,
        line["group"] or None,
        num_shots,
        marked_cuts_frame=_read_marks(line),
        caption=line["caption"] or None,
        crop=BORDER if _read_yes_or_no(line, "bordered") else NO_CROP,
        **cuts,
        captions=tuple(part.strip() for part in line["captions"].split("|") if part.strip()),
    )


def _find_file(line: Line, roots: Iterable[Path], anywhere: bool) -> Path:
    name = line["file"]
    way = os.path.normpath(name)
    if not anywhere and (os.path.isabs(name) or way.split(os.sep)[0] == os.pardir):
        raise line.error(
            "file",
            expected="a file below the folder of the manifest, or below the places that were named",
            got=quote(name),
            remedy="write it as it lies there, or allow all places with --anywhere",
        )
    path = next((root / name for root in roots if name and os.path.isfile(root / name)), None)
    if path is None:
        raise line.error(
            "file", expected="a file", got=f"{quote(name)}, which is not there", remedy="check it"
        )
    return path


def _read_cuts(line: Line) -> _Cuts:
    """Cuts in seconds, or in frames, and where shots of the whole video end."""
    spec, times = line["shots"], line["requested_times_s"]
    if spec and times:
        raise line.error(
            "requested_times_s",
            expected="shots or requested_times_s",
            got="both",
            remedy="leave one of them out",
        )
    if spec:
        try:
            return read_shots(spec)
        except ShotPlanError as error:
            raise line.error("shots", expected=error.expected, got=error.got, remedy=error.remedy) from error
    if not times:
        return {}
    spans_s = [(Fraction(start), Fraction(stop)) for start, stop in _SPAN.findall(times)]
    if not spans_s or _SPAN.sub("", times).strip(" ,;"):
        raise line.error(
            "requested_times_s", expected="times as [0,1] [1,2.5]", got=quote(times), remedy="write them so"
        )
    edges = [edge for span in spans_s for edge in span]
    if edges[0] != 0 or any(stop <= start for start, stop in spans_s) or edges != sorted(edges):
        raise line.error(
            "requested_times_s",
            expected="times that begin at 0 and rise, a shot behind the other",
            got=quote(times),
            remedy="put them in order",
        )
    return {"cuts_s": tuple(start for start, _ in spans_s[1:])}


def read_shots(spec: str) -> _Cuts:
    """Read shots as on the command line: where they are cut, and where the last one ends.

    Raises
    ------
    ShotPlanError
        They cannot be read, or are not whole frames.
    """
    spans, unit = parse_spec(spec)
    starts, stop = [start for start, _ in spans[1:]], spans[-1][1]
    if unit == "s":
        return {"cuts_s": tuple(starts), "stop_s": stop}
    if any(edge.denominator != 1 for span in spans for edge in span):
        raise ShotPlanError(
            expected="whole frames",
            got=quote(spec),
            where="as shots",
            remedy='write "0-24f,24-49f" or use seconds',
        )
    return {"cuts_frame": tuple(map(int, starts)), "stop_frame": int(stop)}


def _read_num_shots(line: Line) -> int | None:
    text = line["requested_shots"]
    if text and not (_WHOLE.fullmatch(text) and int(text) > 0):
        raise line.error(
            "requested_shots",
            expected="a number of shots from 1",
            got=quote(text),
            remedy="write for instance 2",
        )
    return int(text) if text else None


def _read_marks(line: Line) -> tuple[int, ...] | None:
    words, is_marked = line["marked_cut_frames"].split(), _read_yes_or_no(line, "marked")
    if not words:
        return () if is_marked else None
    if not all(map(_WHOLE.fullmatch, words)):
        raise line.error(
            "marked_cut_frames",
            expected="frames with blanks between",
            got=quote(line["marked_cut_frames"]),
            remedy="write 30 76",
        )
    frames = tuple(map(int, words))
    if frames[0] < 1 or any(after <= before for before, after in pairwise(frames)):
        raise line.error(
            "marked_cut_frames",
            expected="cuts that rise from frame 1, each once",
            got=quote(line["marked_cut_frames"]),
            remedy="a cut is the first frame of a new shot, write 30 76",
        )
    if line["marked"] and not is_marked:
        raise line.error(
            "marked",
            expected="yes where marked_cut_frames has frames",
            got=quote(line["marked"]),
            remedy="correct one of the two",
        )
    return frames


def _read_yes_or_no(line: Line, column: str) -> bool:
    text = line[column].lower()
    if text not in _YES + _NO:
        raise line.error(column, expected="yes or no", got=quote(text), remedy="write one of them")
    return text in _YES
