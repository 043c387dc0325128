"""The form in which the paper labels its clips, and back: frames from 1, both ends included, one line of JSON a clip.

``{"video": "clips/a.mp4", "fps": 24.0, "shots": "Shot1: frame1-frame62; Shot2: frame63-frame103", "caption": "...",
"captions": ["...", "..."]}``. The site of CineTrans shows its labels so; the columns of the file that its authors
released are not known to us.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import msgspec

from attnscope.dataset.published.tables import read_clips
from attnscope.dataset.rows import Clip
from attnscope.errors import InputError, one_line, quote
from attnscope.shots import Shot, ShotPlan
from attnscope.storage.confined import confine
from attnscope.storage.disk import explain, partial_beside

LABELS = "cine250k.jsonl"
"""How a file of labels is called."""

_SHOT = re.compile(r"Shot ?(\d{1,4}): ?frame ?(\d{1,9}) ?[-\u2013] ?frame ?(\d{1,9})", re.ASCII)
_MOST_BYTES = 1 << 20  # of a line


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One clip as the paper labels it."""

    video: str
    fps: float
    shots: str
    caption: str | None = None
    captions: tuple[str, ...] = ()


def write_labels(folder: Path, path: Path) -> Path:
    """Write the labels of all clips of a dataset; returns the path.

    Raises
    ------
    InputError
        The folder holds no dataset.
    """
    partial = partial_beside(path)
    with explain(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            for clip in read_clips(folder):
                file.write(msgspec.json.encode(_label(clip)) + b"\n")
        partial.replace(path)
    return path


def read_labels(path: Path, folder: Path) -> Iterator[tuple[Path, ShotPlan, Label]]:
    """Read labels: the file of each clip below ``folder``, where it is cut, and what is said of it.

    Raises
    ------
    InputError
        A line cannot be read, its shots are not those of one clip, or its file lies elsewhere; the message has the
        line.
    """
    with explain(path), path.open("rb") as file:
        for number, line in enumerate(file, 1):
            where = f"in line {number} of {path}"
            label = _read_label(line, where)
            try:
                video = confine(folder, label.video)
                plan = plan_of(label.shots, Fraction(label.fps).limit_denominator(100_000))
            except InputError as error:
                raise InputError(
                    expected=error.expected, got=error.got, where=where, remedy=error.remedy
                ) from error
            if label.captions and len(label.captions) != plan.num_shots:
                raise InputError(
                    expected=f"a caption for each of {plan.num_shots} shots",
                    got=f"{len(label.captions)}",
                    where=where,
                    remedy="correct it",
                )
            yield video, plan, label


def show_shots(shots: Sequence[Shot]) -> str:
    """Write shots as the paper does: from 1, both ends included.

    >>> show_shots([Shot(0, 62), Shot(62, 103)])
    'Shot1: frame1-frame62; Shot2: frame63-frame103'
    """
    return "; ".join(
        f"Shot{number}: frame{shot.start + 1}-frame{shot.stop}" for number, shot in enumerate(shots, 1)
    )


def plan_of(text: str, fps: Fraction) -> ShotPlan:
    """Read shots as the paper writes them.

    Raises
    ------
    InputError
        They are not written so, do not begin at frame 1, or do not follow one another.

    Examples
    --------
    >>> plan_of("Shot1: frame1-frame62; Shot2: frame63-frame103", Fraction(24)).shots
    (Shot(start=0, stop=62), Shot(start=62, stop=103))
    """
    parts = [_SHOT.fullmatch(part.strip()) for part in text.split(";")]
    spans = [tuple(map(int, part.groups())) for part in parts if part is not None]
    in_order = bool(spans) and spans[0][1] == 1 and all(b[1] == a[2] + 1 for a, b in pairwise(spans))
    numbered = [span[0] for span in spans] == list(range(1, len(parts) + 1))
    if not in_order or not numbered or any(first > last for _, first, last in spans):
        raise InputError(
            expected="shots as Shot1: frame1-frame62; Shot2: frame63-frame103, one behind the other",
            got=quote(text),
            where="as shots",
            remedy="write them so",
        )
    return ShotPlan.from_frames([first - 1 for _, first, _ in spans[1:]], num_frames=spans[-1][2], fps=fps)


def _label(clip: Clip) -> Label:
    captions = tuple(shot.caption or "" for shot in clip.shots)
    return Label(
        clip.uri or "",
        float(Fraction(clip.fps)),
        show_shots(clip.plan().shots),
        clip.caption,
        captions if all(captions) else (),
    )


def _read_label(line: bytes, where: str) -> Label:
    try:
        if len(line) > _MOST_BYTES:
            raise ValueError(f"{len(line)} bytes")
        label = msgspec.json.decode(line, type=Label)
        if not 0 < label.fps < 1000:
            raise ValueError(f"fps of {label.fps}")
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InputError(
            expected="a label with video, fps and shots",
            got=quote(one_line(str(error)), 120),
            where=where,
            remedy="write it as attnscope dataset export does",
        ) from error
    return label
