"""What people write, 5,000 examples of it: shots, rules, ranges, manifests, documents. One line or an exact answer."""

from __future__ import annotations

import csv
import io
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attnscope import masks
from attnscope.errors import AttnscopeError, InputError, MaskError
from attnscope.masks.rules import BY_NAME
from attnscope.metrics.scoring.manifests import COLUMNS, read_manifest
from attnscope.ranges import format_range, parse_range
from attnscope.shots import ShotPlan, ShotPrompt, parse_prompt
from attnscope.storage.sealed import SealError, seal, unseal

EACH = {"database": None, "deadline": None, "suppress_health_check": list(HealthCheck)}
PLAN = ShotPlan.from_latent_frames([3], num_frames_latent=6, fps=16)


def few(num: int) -> Any:
    return settings(max_examples=num, **EACH)


def answer(ask: Any, *arguments: Any, **named: Any) -> Any:
    """What is answered, or None where it is refused; anything but a refusal in one line fails the test."""
    try:
        return ask(*arguments, **named)
    except AttnscopeError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017
        return None


@st.composite
def plans(draw: Any) -> ShotPlan:
    num_frames = draw(st.integers(1, 400) | st.integers(1, 9_999_999))
    rates = st.integers(1, 240) | st.sampled_from(["24000/1001", "30000/1001", "23.976", "12.5", "1/3"])
    cuts = draw(st.sets(st.integers(1, max(num_frames - 1, 1)), max_size=min(12, num_frames - 1)))
    return ShotPlan.from_frames(sorted(cuts), num_frames=num_frames, fps=draw(rates))


WORDS = st.sampled_from(
    [
        "shot",
        "Shot 2:",
        "Shot 1: [0s, 1s]",
        "two shots:",
        "a ball",
        ";",
        ",",
        "\\",
        "\\;",
        " ",
        "\n",
        ": ",
        "[0s, 4s]",
        "é",
    ]
)
CAPTIONS = st.lists(WORDS, max_size=5).map("".join) | st.text(max_size=20)


@few(700)
@given(plans())
def test_shots_go_through_the_command_line_and_back(plan: ShotPlan) -> None:
    assert ShotPlan.from_spec(plan.to_spec(), fps=plan.fps) == plan


@few(900)
@given(plans(), CAPTIONS, st.data())
def test_shots_go_through_a_prompt_and_back(plan: ShotPlan, general: str, data: Any) -> None:
    captions = data.draw(st.lists(CAPTIONS, min_size=plan.num_shots, max_size=plan.num_shots))
    seconds = plan.duration_s < 1_000_000  # six digits before the point
    text = plan.to_prompt(general, captions)
    if not seconds:
        assert answer(parse_prompt, text) is None
        return
    assert ShotPlan.from_prompt(text, fps=plan.fps, stride=1) == plan
    prompt = parse_prompt(text)
    assert (prompt.general, prompt.captions) == (general, tuple(captions))
    assert parse_prompt(prompt.to_text()) == prompt


@few(300)
@given(st.lists(st.floats(1e-9, 1000), min_size=1, max_size=5), CAPTIONS)
def test_times_of_any_size_go_through_a_prompt_and_back(lengths: list[float], caption: str) -> None:
    edges = [0.0]
    for length in lengths:
        edges.append(edges[-1] + length)
    times_s = tuple(pairwise(edges))
    prompt = ShotPrompt("", (caption,) * len(lengths), times_s)
    if all(start < stop for start, stop in times_s):
        assert parse_prompt(prompt.to_text()) == prompt


SPEC_PARTS = st.sampled_from(
    [
        "0",
        "1",
        "1.5",
        "24",
        "-",
        ",",
        "s",
        "f",
        " ",
        "1e-05",
        ".",
        "9" * 5000,
        "0-1s",
        "1-2s",
        "0-24f",
        "24-49f",
        "nan",
    ]
)


@few(600)
@given(st.lists(SPEC_PARTS, max_size=9).map("".join) | st.text(max_size=30))
def test_shots_that_people_type(text: str) -> None:
    plan = answer(ShotPlan.from_spec, text, fps=24)
    assert plan is None or plan.num_frames >= 1
    answer(ShotPlan.from_prompt, text, fps=24)
    prompt = answer(parse_prompt, f"Shot 1: [0s, 4s]{text}")
    assert prompt is None or prompt == parse_prompt(prompt.to_text())


RULE_PARTS = st.sampled_from(
    [
        *sorted(BY_NAME),
        "(",
        ")",
        "(" * 300,
        "|",
        "&",
        "+",
        "~",
        "~" * 200,
        ",",
        " ",
        "2",
        "1e999",
        "-1",
        "9" * 400,
        "0.5",
        "'a'",
        "True",
        "None",
        "seed=1",
        "*",
        "**",
        "lambda: 0",
        ".x",
        "[0]",
        "\x00",
        "if",
        "soft(same_shot,",
        "halo(1)",
    ]
)


@few(1000)
@given(st.lists(RULE_PARTS, max_size=9).map("".join) | st.text(max_size=40))
def test_rules_that_people_type(text: str) -> None:
    rule = answer(masks.parse_rule, text, PLAN)
    assert rule is None or rule.describe()


RANGE_PARTS = st.sampled_from(
    ["1", "7-28", "30", ",", "-", "-6:", "all", " ", "0", "9" * 5000, ":", "28-7", "٣"]
)


@few(500)
@given(st.lists(RANGE_PARTS, max_size=6).map("".join) | st.text(max_size=20))
def test_ranges_that_people_type(text: str) -> None:
    labels = answer(parse_range, text, range(1, 31), name="layers")
    assert labels is None or parse_range(format_range(labels), range(1, 31), name="layers") == labels


CELLS = st.sampled_from(
    [
        "a.mp4",
        "b.mp4",
        "",
        "0-1s,1-2s",
        "0-24f,24-48f",
        "[0,1] [1,2]",
        "[0,2] [1,3]",
        "[0,1.2.3]",
        "3",
        "-1",
        "9" * 5000,
        "yes",
        "24 24",
        "24 30",
        "0",
        "../a.mp4",
        "/etc/passwd",
        "\x00",
        "a\nb",
        '"',
        "é",
        " 2 ",
        "1.5",
        "nan",
        "[" * 3000,
        "0-1e-05s",
    ]
)
HEADERS = st.sampled_from([*COLUMNS, "file", "file", " file", "flie", "", "File"])


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for name in ("a.mp4", "b.mp4"):
        (folder / name).write_bytes(b"")
    return folder


@few(700)
@given(
    header=st.lists(HEADERS, min_size=1, max_size=5),
    rows=st.lists(st.lists(CELLS, max_size=6), max_size=3),
    noise=st.binary(max_size=3),
)
def test_manifests_that_people_type(
    films: Path, header: list[str], rows: list[list[str]], noise: bytes
) -> None:
    written = io.StringIO()
    csv.writer(written, escapechar="\\").writerows([header, *rows])
    path = films / "list.csv"
    path.write_bytes(written.getvalue().encode() + noise)
    listed = answer(read_manifest, path, [films])
    for each in listed or []:
        assert each.path.parent == films
        assert not each.cuts_frame or list(each.cuts_frame) == sorted(set(each.cuts_frame))
        assert not each.cuts_s or list(each.cuts_s) == sorted(set(each.cuts_s))


class Document(msgspec.Struct):
    """A body of every type that ours have."""

    numbers: list[float]
    words: dict[str, str]
    anything: dict[str, Any]


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(max_size=5), parts, max_size=3),
    max_leaves=8,
)


@few(300)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=4),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    st.dictionaries(st.text(max_size=5), PLAIN, max_size=3),
    st.data(),
)
def test_documents_go_into_a_file_and_back(
    numbers: list[float], words: dict[str, str], anything: dict[str, Any], data: Any
) -> None:
    content = seal("a kind", Document(numbers, words, anything))
    assert unseal(content, "a kind", Document) == Document(numbers, words, anything)
    place = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != content[place]))
    with pytest.raises(SealError):
        unseal(content[:place] + bytes([byte]) + content[place + 1 :], "a kind", Document)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 2000,
        "(" * 2000 + "same_shot" + ")" * 2000,
        "(" * 240 + "same_shot" + ")" * 240,
        "~" * 480 + "same_shot",
        "-" * 480 + "1",
        "halo(" + "-" * 440 + "1)",
        "soft(same_shot, 1e999)",
        "soft(same_shot, -1e999)",
        "soft(same_shot, ramp(1e999, 0))",
        "times(same_shot, 1e308)",
        "halo(" + "9" * 400 + ")",
        "permuted(same_shot, seed=1e9)",
    ],
)
def test_rules_that_would_nest_or_overflow_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(MaskError) as caught:
        masks.parse_rule(text, PLAN)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 700


def test_fifty_rules_in_a_row_are_a_rule() -> None:
    assert masks.parse_rule("|".join(["same_shot"] * 45), PLAN).describe()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,method,shots\na.mp4,ours,0-1s,1-2s\n", "in line 2 of .*, column 4"),
        (
            'file,requested_times_s\na.mp4,"[0,1.2.3] [1.2.3,2]"\n',
            "times as .*line 2 of .*, column requested_times_s",
        ),
        ('file,requested_times_s\na.mp4,"[0,3] [1,2] [0.5,4]"\n', "times that begin at 0 and rise"),
        ('file,requested_times_s\na.mp4,"[0,2] [1,3]"\n', "times that begin at 0 and rise"),
        ('file,requested_times_s\na.mp4,"[-1,2]"\n', "times as"),
        ('file,requested_times_s,requested_shots\na.mp4,"[0,1] [1,2]",5\n', "column requested_shots"),
        ("file, method ,requested_shots\na.mp4,ours,3\n", "write method"),
        ("file,requested_shot\na.mp4,3\n", "in line 1 of .*, column 2; write requested_shots"),
        ("file,file\na.mp4,a.mp4\n", "every column once"),
        ("file,method\na.mp4,ours,3\n", "expected 2 cells"),
        ("file,marked_cut_frames\na.mp4,24 24 0 9999\n", "cuts that rise from frame 1"),
        ("file,marked_cut_frames\na.mp4,0 24\n", "cuts that rise from frame 1"),
        (f"file,marked_cut_frames\na.mp4,{'9' * 5000}\n", "frames with blanks"),
        (f"file,requested_shots\na.mp4,{'9' * 5000}\n", "a number of shots"),
        ("file,marked_cut_frames,marked\na.mp4,24,no\n", "column marked"),
        ('file,shots\na.mp4,"0-8.5f,8.5-17f"\n', "whole frames"),
        ('file,shots,requested_times_s\na.mp4,"0-1s,1-2s","[0,1] [1,2]"\n', "got both"),
        ("file,method\na.mp4,x\n./a.mp4,y\n", "stands in line 2, too, in line 3"),
        ("file\n../a.mp4\n", "below the folder of the manifest"),
        ("file\nsub/../../a.mp4\n", "below the folder of the manifest"),
        ("file\n/etc/passwd\n", "below the folder of the manifest"),
        ('file\n"a.mp4\n', "a CSV table"),
        ("file\na\0.mp4\n", "a CSV table|not there"),
    ],
)
def test_a_table_is_held_against_what_is_known(films: Path, text: str, words: str) -> None:
    path = films / "list.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        read_manifest(path, [])
    assert len(str(caught.value).splitlines()) == 1


def test_a_manifest_may_lead_anywhere_where_that_is_allowed(films: Path, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f"file,note\n{films / 'a.mp4'},as it was found\n")
    (listed,) = read_manifest(path, [], anywhere=True)
    assert listed.path == films / "a.mp4"
