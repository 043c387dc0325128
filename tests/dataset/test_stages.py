"""Each stage by itself: rows in, rows out, against brute force."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from attnscope.dataset.defade import _cut_out, _find_agreed
from attnscope.dataset.rows import Film, Piece, Removed, Source
from attnscope.dataset.screen import screen, set_standards
from attnscope.dataset.settings import Settings, read_settings
from attnscope.dataset.split import fingerprint
from attnscope.dataset.stitch import stitch
from attnscope.errors import InputError
from attnscope.metrics import Detection, Transition


def brute_force_runs(frames: list[int]) -> list[tuple[int, int]]:
    """Stretches of neighbours, the slow way."""
    return [
        (frame, next(k for k in range(frame, 10_000) if k not in frames))
        for frame in frames
        if frame - 1 not in frames
    ]


def film(lengths: list[int], likeness: list[float], marks: dict[int, float] | None = None) -> Film:
    edges = np.concatenate([[0], np.cumsum(lengths)])
    alike = [*likeness, None]
    pieces = tuple(
        Piece(int(a), int(b), 5.0, 40.0, "0" * 32, like)
        for a, b, like in zip(edges, edges[1:], alike, strict=False)
    )
    marks = marks or {}
    return Film(
        Source("s1", "a.mp4", 1, "0"),
        int(edges[-1]),
        "10",
        640,
        360,
        0,
        pieces,
        tuple(marks),
        tuple(marks.values()),
        None if marks else "no encoder",
    )


@hypothesis.given(st.lists(st.tuples(st.integers(1, 90), st.floats(-1, 1)), min_size=1, max_size=12))
def test_every_piece_is_in_one_candidate_and_they_are_as_large_as_can_be(
    drawn: list[tuple[int, float]],
) -> None:
    lengths, likeness = [n for n, _ in drawn], [x for _, x in drawn][:-1]
    settings = Settings(join_likeness=0.3, longest_clip_s=10, most_shots=3, shortest_clip_s=0)
    clips = stitch(film(lengths, likeness), settings, "contract")
    held = [shot for clip in clips for shot in clip.shots]
    assert [shot.source_stop_frame - shot.source_start_frame for shot in held] == lengths
    assert len({clip.clip_id for clip in clips}) == len(clips)
    place = 0
    for clip, after in zip(clips, [*clips[1:], None], strict=True):
        num = len(clip.shots)
        inside = likeness[place : place + num - 1]
        assert all(x >= 0.3 for x in inside)
        assert num <= 3
        assert num == 1 or clip.stop_frame - clip.start_frame <= 100
        place += num
        if after is not None:
            longer = after.shots[0].source_stop_frame - clip.start_frame
            assert likeness[place - 1] < 0.3 or num == 3 or longer > 100, "it could have taken in one more"


def test_marks_are_those_of_its_own_frames() -> None:
    clips = stitch(film([50, 50], [0.0], {0: 0.2, 20: 0.4, 60: 0.9}), Settings(), "contract")
    assert [clip.aesthetic for clip in clips] == [pytest.approx(0.3), 0.9]
    assert [clip.unjudged for clip in clips] == [None, None]
    (clip,) = stitch(film([50], []), Settings(), "contract")
    assert (clip.aesthetic, clip.unjudged) == (None, "no encoder")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, None),
        ({"fps": "60"}, "4.00 s, shorter than 8 s"),
        ({"fps": "12"}, "20.00 s, longer than 15 s"),
        ({"width": 320, "height": 180}, "320 x 180 pixels"),
        ({"motion": 0.1}, "still"),
        ({"contrast": 2.0}, "black or blank"),
    ],
)
def test_a_reason_stands_beside_every_decision(
    make_clip, given: dict[str, object], words: str | None
) -> None:
    (clip,) = screen(make_clip(**given), Settings(), set_standards([], Settings()))
    assert clip.decision == ("dropped" if words else "kept")
    assert (words is None and not clip.reasons) or words in clip.reasons[0]


def test_all_reasons_are_written_down(make_clip) -> None:
    (clip,) = screen(make_clip(motion=0.1, contrast=1.0, width=9), Settings(), set_standards([], Settings()))
    assert len(clip.reasons) == 3


def test_the_best_share_is_taken(make_clip) -> None:
    clips = [
        make_clip(clip_id=f"a{k}", aesthetic=k / 10, unjudged=None, print=f"{k * 1111:032x}" * 2)
        for k in range(10)
    ]
    settings = Settings(duplicate_bits=0)
    standards = set_standards(clips, settings)
    kept = [
        clip.clip_id
        for each in clips
        for clip in screen(each, settings, standards)
        if clip.decision == "kept"
    ]
    assert kept == ["a6", "a7", "a8", "a9"]


def test_without_marks_nothing_is_dropped_for_them(make_clip) -> None:
    clip = make_clip(unjudged="no encoder")
    standards = set_standards([clip], Settings())
    assert (standards.least_mark, standards.unjudged) == (None, "no encoder")
    assert screen(clip, Settings(), standards)[0].decision == "kept"


def test_near_duplicates_are_found_as_brute_force_finds_them(make_clip) -> None:
    rng = np.random.default_rng(3)
    base = [int.from_bytes(rng.bytes(32), "big") for _ in range(12)]
    prints = []
    for value in base:
        for flips in (0, 5, 11, 12, 13, 40):
            bits = rng.choice(256, flips, replace=False)
            prints.append(value ^ sum(1 << int(bit) for bit in bits))
    rng.shuffle(prints)
    clips = [make_clip(clip_id=f"c{k}", print=f"{value:064x}") for k, value in enumerate(prints)]
    found = set_standards(clips, Settings(duplicate_bits=12)).duplicates
    firsts: list[int] = []
    expected = {}
    for k, value in enumerate(prints):
        near = [first for first in firsts if (prints[first] ^ value).bit_count() <= 12]
        if near:
            expected[f"c{k}"] = f"c{near[0]}"
        else:
            firsts.append(k)
    assert found == expected
    assert len(expected) > 10


def test_a_fingerprint_survives_brightness_and_noise() -> None:
    picture = np.random.default_rng(0).integers(40, 200, (9, 16, 3)).astype(np.uint8)
    other = (picture * 0.8 + 10).astype(np.uint8)
    distance = int(fingerprint(picture), 16) ^ int(fingerprint(other), 16)
    assert distance.bit_count() <= 3
    stranger = np.random.default_rng(1).integers(40, 200, (9, 16, 3)).astype(np.uint8)
    assert (int(fingerprint(picture), 16) ^ int(fingerprint(stranger), 16)).bit_count() > 40


@hypothesis.given(
    st.integers(0, 20),
    st.integers(1, 60),
    st.sets(st.integers(0, 80), max_size=6),
    st.lists(st.tuples(st.integers(-5, 80), st.integers(0, 15)), max_size=4),
    st.integers(0, 6),
)
def test_what_is_left_is_every_frame_that_was_not_taken_out(
    start: int, length: int, cuts: set[int], gone: list[tuple[int, int]], shortest: int
) -> None:
    inside = range(start, start + length)
    removed = [Removed(a, a + n, "transition") for a, n in gone]
    spans, listed = _cut_out(inside, sorted(cuts), removed, shortest)
    out = {frame for each in removed for frame in range(each.start_frame, each.stop_frame)}
    left = [frame for frame in inside if frame not in out]
    expected = []
    for first, stop in brute_force_runs(left):
        edges = [first, *sorted(cut for cut in cuts if first < cut < stop), stop]
        expected += [(a, b) for a, b in pairwise(edges) if b - a >= shortest]
    assert spans == expected
    held = {frame for a, b in spans for frame in range(a, b)}
    taken = {frame for each in listed for frame in range(each.start_frame, each.stop_frame)}
    assert held | taken == set(inside)
    assert not held & taken


@pytest.mark.parametrize(
    ("probability", "found", "expected"),
    [(0.16, [], [180]), (0.05, [], []), (0.16, [181], []), (0.9, [150], [180])],
)
def test_a_cut_of_the_quick_pass_counts_where_the_network_half_sees_it(
    make_clip, probability: float, found: list[int], expected: list[int]
) -> None:
    offset, ends = 75, np.zeros(290, np.float32)
    ends[180 - offset - 1] = probability
    seen = tuple(Transition(cut - offset, cut - offset, cut - offset, "cut", 0.9) for cut in found)
    detection = Detection(
        "transnetv2",
        seen,
        len(ends),
        Fraction(24),
        0.3,
        "float32",
        ends,
        ends,
        np.zeros((290, 9, 16, 3), np.uint8),
    )
    assert list(_find_agreed(make_clip(), detection, offset)) == expected


def test_settings_are_read_strictly() -> None:
    assert read_settings({"shortest_clip_s": "2"}, "here") == Settings(shortest_clip_s=2)
    for table in (
        {"nose": 1},
        {"most_shots": "many"},
        {"crf": 99},
        {"shortest_clip_s": 20},
        {"margin_frames": -1},
    ):
        with pytest.raises(InputError):
            read_settings(table, "here")
