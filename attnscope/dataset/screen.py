"""Screen candidates: how long, how many shots, how large, whether something happens, whether it was there before.

Nothing is deleted. A candidate that is not taken keeps its row, with every reason against it. Two of the rules look at
all candidates at once, the best share by aesthetic mark and near-duplicates; what they come to is written down as
`Standards` first, so that the stage itself looks at one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from attnscope.dataset.rows import Clip
from attnscope.dataset.settings import Settings

_BANDS, _BAND_DIGITS = 16, 4  # of the 64 hexadecimal digits of a fingerprint: 16 bits each
_ALIKE_S = 0.5  # near-duplicates are as long, to within this


@dataclass(frozen=True)
class Standards:
    """What holds for all candidates: the least aesthetic mark, and for each near-duplicate the clip that came first.

    ``least_mark`` is None where nothing was judged; then ``unjudged`` says why, and marks decide nothing.
    """

    least_mark: float | None = None
    unjudged: str | None = None
    duplicates: Mapping[str, str] = field(default_factory=dict)


def set_standards(candidates: Iterable[Clip], settings: Settings) -> Standards:
    """Look at all candidates once; what fails by itself has no say in what is best, or first.

    Keeps a mark and a fingerprint of each candidate that is left, and no row.
    """
    marks: list[float] = []
    unjudged: str | None = None
    seen = _Seen(settings.duplicate_bits)
    duplicates: dict[str, str] = {}
    for clip in candidates:
        if any(_faults(clip, settings)):
            continue
        if (first := seen.find(clip)) is not None:
            duplicates[clip.clip_id] = first
            continue
        unjudged = unjudged or clip.unjudged
        if clip.aesthetic is not None:
            marks.append(clip.aesthetic)
    if not marks:
        return Standards(None, unjudged, duplicates)
    num_taken = max(1, round(settings.aesthetic_share * len(marks)))
    return Standards(sorted(marks, reverse=True)[num_taken - 1], None, duplicates)


def screen(clip: Clip, settings: Settings, standards: Standards) -> list[Clip]:
    """Decide whether a candidate is taken, and write down every reason against it.

    A candidate of fewer shots than a clip must have is taken nevertheless if it is long enough: it may hide a dissolve,
    and ``defade`` sees.

    Parameters
    ----------
    clip : Clip
        A candidate.
    settings : Settings
        ``shortest_clip_s`` to ``longest_clip_s``, ``most_shots``, ``least_side``, ``least_motion``, ``least_contrast``.
    standards : Standards
        What :func:`set_standards` found.

    Returns
    -------
    list of Clip
        One, decided.
    """
    reasons = list(_faults(clip, settings))
    if clip.clip_id in standards.duplicates:
        reasons.append(f"looks like clip {standards.duplicates[clip.clip_id]}")
    least = standards.least_mark
    if least is not None and (clip.aesthetic is None or clip.aesthetic < least):
        mark = "none" if clip.aesthetic is None else f"{clip.aesthetic:.4f}"
        reasons.append(
            f"aesthetic mark {mark}, below the {least:.4f} of the best {settings.aesthetic_share:.0%}"
        )
    for reason in reasons:
        clip = clip.drop(reason)
    return [clip]


def check_length(clip: Clip, settings: Settings) -> Iterator[str]:
    """Say what is wrong with the length of a clip."""
    if clip.duration_s < settings.shortest_clip_s:
        yield f"{clip.duration_s:.2f} s, shorter than {settings.shortest_clip_s:g} s"
    if clip.duration_s > settings.longest_clip_s:
        yield f"{clip.duration_s:.2f} s, longer than {settings.longest_clip_s:g} s"


def check_shots(clip: Clip, settings: Settings) -> Iterator[str]:
    """Say what is wrong with the number of shots of a finished clip."""
    num = len(clip.shots)
    if not settings.fewest_shots <= num <= settings.most_shots:
        yield f"{num} shot{'s' if num != 1 else ''}, not {settings.fewest_shots} to {settings.most_shots}"


def _faults(clip: Clip, settings: Settings) -> Iterator[str]:
    """What speaks against a candidate by itself."""
    yield from check_length(clip, settings)
    if len(clip.shots) > settings.most_shots:
        yield from check_shots(clip, settings)
    if min(clip.width, clip.height) < settings.least_side:
        yield f"{clip.width} x {clip.height} pixels, the short side below {settings.least_side}"
    if clip.motion < settings.least_motion:
        yield f"still: its picture changes by {clip.motion:.2f} levels, less than {settings.least_motion:g}"
    if clip.contrast < settings.least_contrast:
        yield f"black or blank: a spread of {clip.contrast:.2f} levels, less than {settings.least_contrast:g}"


class _Seen:
    """Fingerprints that were seen, found again when a few bits differ.

    Of 16 bands at least one is the same if fewer than 16 bits differ: only what shares a band is compared.
    """

    def __init__(self, most_bits: int) -> None:
        self._most_bits = most_bits
        self._by_band: dict[tuple[int, int, str], list[int]] = {}
        self._clips: list[tuple[str, int, float]] = []

    def find(self, clip: Clip) -> str | None:
        """Name the clip that this one looks like, or take it in."""
        bits, duration_s = (
            int(clip.print, 16),
            float((clip.stop_frame - clip.start_frame) / Fraction(clip.fps)),
        )
        keys = list(_bands(clip.print, len(clip.shots)))
        near = sorted({index for key in keys for index in self._by_band.get(key, ())})
        for index in near:
            name, other, other_s = self._clips[index]
            if (bits ^ other).bit_count() <= self._most_bits and abs(duration_s - other_s) <= _ALIKE_S:
                return name
        for key in keys:
            self._by_band.setdefault(key, []).append(len(self._clips))
        self._clips.append((clip.clip_id, bits, duration_s))
        return None


def _bands(digits: str, num_shots: int) -> Sequence[tuple[int, int, str]]:
    cuts = np.arange(0, _BANDS * _BAND_DIGITS, _BAND_DIGITS)
    return [(num_shots, int(cut), digits[cut : cut + _BAND_DIGITS]) for cut in cuts]
