"""Many videos: what is asked of each, several at a time, and the next time from where it stopped."""

from __future__ import annotations

import json
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

import attnscope as scope
from attnscope.errors import InputError, SetupError, VideoError
from attnscope.metrics import Settings
from attnscope.metrics.scoring.batches import score_videos
from attnscope.metrics.scoring.manifests import BORDER, Listed, count_left_out, list_videos, read_manifest
from attnscope.metrics.scoring.requests import Request
from attnscope.metrics.scoring.tables import (
    MEASURES,
    flat_method,
    flat_row,
    measure_of,
    methods_table,
    write_csv,
    write_parquet,
)
from attnscope.video import write_video

QUICK = Settings(detector="content")
BROKEN = {"truncated.mp4", "empty.mp4", "text.mp4", "one.mp4", "uneven.mp4", "sound.mp4"}


def test_a_score_of_frames_in_memory(film: np.ndarray) -> None:
    plan = scope.ShotPlan.from_frames([12], num_frames=33, fps=16)
    row = scope.score(film, plan)
    assert (row["cuts_detected_frame"], row["cuts_requested_frame"]) == ([13], [12])
    assert (row["transition_control"], row["agreement"]["f1"], row["agreement"]["offset_frame"]) == (1, 1, 1)
    assert row["agreement_latent"]["f1"] == 1
    assert len(row["probabilities"]) == 33
    assert row["probabilities_at_requested"] == [pytest.approx(max(row["probabilities"]), abs=1e-4)]
    assert row["soft_control"] > 0.3
    for name, entry in row["consistency"].items():
        assert set(entry) == {"value", "encoder", "weights_sha256", "comparable_to_paper", "reason"}
        assert (entry["value"] is None) == (entry["reason"] is not None), name
        assert entry["value"] is None or -1 <= entry["value"] <= 1
    assert row["consistency"]["inter_visual"]["encoder"] == "efficientnet-lite0"
    assert "no package" in row["quality"]["aesthetic"]["reason"]


def test_without_a_plan_nothing_is_held_against_one(film: np.ndarray) -> None:
    row = scope.score(film, fps=16, settings=QUICK)
    assert row["cuts_detected_frame"] == [13]
    asked = ("transition_control", "agreement", "soft_control", "shot_cut_accuracy", "num_shots_requested")
    assert [row[name] for name in asked] == [None] * 5
    assert row["probabilities"] is None, "this detector gives none"
    with pytest.raises(VideoError, match="give fps"):
        scope.score(film)
    with pytest.raises(VideoError, match="expected a video of 17 frames as its plan has, got 33"):
        scope.score(film, scope.ShotPlan.from_frames([9], num_frames=17, fps=16), settings=QUICK)


def test_a_lone_shot_has_nothing_to_compare(film: np.ndarray) -> None:
    entry = scope.score(film[:13], fps=16, settings=QUICK)["consistency"]["inter_visual"]
    assert (entry["value"], entry["encoder"]) == (None, "efficientnet-lite0")
    assert "one shot" in entry["reason"]


@pytest.mark.slow
def test_a_caption_that_fits_scores_higher(film: np.ndarray) -> None:
    values = [
        scope.score(film, fps=16, caption=caption, settings=QUICK)["consistency"]["text_alignment"]["value"]
        for caption in ("a ball", "a quarterly report of an insurance company")
    ]
    assert values[0] > values[1]


def test_a_broken_video_is_a_row_and_the_rest_goes_on(broken: Path) -> None:
    listed = list_videos([broken])
    rows = score_videos(listed, QUICK)
    assert [row["file"] for row in rows] == sorted(BROKEN | {"good.mp4"})
    failed = {row["file"]: row["error"] for row in rows if row["status"] != "ok"}
    assert set(failed) == BROKEN
    assert all(error.startswith("expected") and "\n" not in error for error in failed.values())
    (good,) = (row for row in rows if row["status"] == "ok")
    assert good["cuts_detected_frame"] == [13]


def test_what_is_done_is_not_done_again(
    broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from attnscope.metrics.scoring import batches

    listed = [each for each in list_videos([broken]) if each.name in ("good.mp4", "text.mp4")]
    scored: list[str] = []
    score_listed = batches.score_listed

    def counted(each: Listed, settings: Settings) -> dict[str, Any]:
        scored.append(each.name)
        return score_listed(each, settings)

    monkeypatch.setattr(batches, "score_listed", counted)
    told: list[tuple[int, int]] = []
    first = score_videos(listed, QUICK, folder=tmp_path, on_done=lambda *progress: told.append(progress))
    assert (scored, told) == (["good.mp4", "text.mp4"], [(1, 2), (2, 2)])
    again = score_videos(listed, QUICK, folder=tmp_path)
    assert scored[2:] == ["text.mp4"], "what failed is tried again, what is there is taken"
    assert json.dumps(again) == json.dumps(first)
    score_videos(listed, Settings(detector="content", tolerance_frame=3), folder=tmp_path)
    assert scored[3:] == ["good.mp4", "text.mp4"], "other settings are another question"
    row = tmp_path / "rows" / f"{batches._digest_request(listed[0], QUICK)}.json"
    row.write_text(row.read_text()[:100])
    score_videos(listed[:1], QUICK, folder=tmp_path)
    assert scored[5:] == ["good.mp4"], "a damaged row is a row that is not there"


@pytest.mark.slow
def test_two_processes_give_what_one_gives(broken: Path) -> None:
    listed = [each for each in list_videos([broken]) if each.name in ("good.mp4", "text.mp4", "one.mp4")]
    two, one = (json.dumps(score_videos(listed, QUICK, jobs=jobs)) for jobs in (2, 1))
    # one thread each, or as many as torch likes: sums are taken in another order, and the last digit moves
    rounded = [json.loads(each, parse_float=lambda digits: round(float(digits), 4)) for each in (two, one)]
    assert rounded[0] == rounded[1]
    assert [row["status"] for row in rounded[0]] == ["ok", "failed", "failed"]


def manifest(folder: Path, text: str) -> Path:
    path = folder / "manifest.csv"
    path.write_text(text)
    return path


def test_a_manifest_says_what_was_asked_for(broken: Path, tmp_path: Path) -> None:
    lines = (
        "file,method,group,requested_shots,requested_times_s,marked_cut_frames,marked,bordered,caption\n"
        'good.mp4,A,main,2,"[0,0.75] [0.75,2]",13,yes,yes,a ball\n'
        "text.mp4,B,,3,,,yes,no,\n"
        "one.mp4,,,,,,,,\n"
    )
    first, second, third = read_manifest(manifest(tmp_path, lines), [broken])
    assert (first.method, first.group, first.crop, first.caption) == ("A", "main", BORDER, "a ball")
    assert first.request_at(Fraction(16)) == Request((12,), 2, "a ball", (Fraction(3, 4),))
    assert first.marked_cuts_frame == (13,)
    assert (second.request_at(Fraction(16)).num_cuts, second.marked_cuts_frame) == (2, ())
    assert (third.method, third.request_at(Fraction(16)).num_cuts, third.marked_cuts_frame) == (
        None,
        None,
        None,
    )


def test_shots_may_be_written_as_on_the_command_line(broken: Path, tmp_path: Path) -> None:
    lines = 'file,shots\ngood.mp4,"0-0.75s,0.75-2s"\none.mp4,"0-9f,9-17f"\n'
    first, second = read_manifest(manifest(tmp_path, lines), [broken])
    assert first.request_at(Fraction(16)).cuts_frame == (12,)
    assert second.request_at(Fraction(16)).cuts_frame == (9,)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("name,method\na,b\n", "a column file"),
        ("file,method\n", "a line for each video"),
        ("file\nnowhere.mp4\n", "line 2 of"),
        ("file\ngood.mp4\ngood.mp4\n", "expected every file once"),
        ("file,requested_shots\ngood.mp4,two\n", "expected a number of shots"),
        ("file,requested_shots\ngood.mp4,0\n", "expected a number of shots"),
        ('file,requested_times_s\ngood.mp4,"0-1, 1-2"\n', "expected times as"),
        ("file,marked_cut_frames\ngood.mp4,1.5\n", "expected frames with blanks"),
        ("file,bordered\ngood.mp4,maybe\n", "expected yes or no"),
        ("file,shots\ngood.mp4,0-1\n", "expected shots like"),
    ],
)
def test_a_manifest_that_says_nothing_clear_is_refused(
    broken: Path, tmp_path: Path, lines: str, words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_manifest(manifest(tmp_path, lines), [broken])
    assert "\n" not in str(caught.value)


def line(method: str, control: float | None, **more: Any) -> dict[str, Any]:
    return {
        "file": "a",
        "method": method,
        "group": None,
        "status": "ok",
        "error": None,
        "transition_control": control,
        **more,
    }


def test_methods_are_means_over_their_videos() -> None:
    rows = [
        line("b", 0.2),
        line("a", 1.0),
        line("b", 0.6),
        line("b", 0.7),
        line("c", 1.0),
        line("c", 1.0),
        line("c", 1.0),
        line("b", None),
        {**line("b", 1.0), "status": "failed"},
    ]
    first, second, third = methods_table(rows)
    assert (first["method"], first["num_videos"], first["num_failed"]) == ("b", 4, 1)
    assert first["transition_control"]["mean"] == pytest.approx(0.5)
    reach = (
        12.7062 * np.std([0.2, 0.6, 0.7], ddof=1) / np.sqrt(3)
    )  # Student's, one degree fewer below five videos
    assert (first["transition_control"]["low"], first["transition_control"]["high"]) == pytest.approx(
        (0.5 - reach, 0.5 + reach), rel=1e-4
    )
    assert first["transition_control"]["num"] == 3
    # three videos that are all right are no certainty
    assert third["transition_control"]["low"] < 0.3
    assert third["transition_control"]["high"] == 1.0
    assert second["transition_control"] == {"mean": 1.0, "low": None, "high": None, "num": 1}
    assert first["flicker"] == {"mean": None, "low": None, "high": None, "num": 0}


def test_a_gap_needs_twenty_videos_and_one_encoder() -> None:
    def scored(value: float, encoder: str = "a") -> dict[str, Any]:
        entry = {"value": value, "encoder": encoder, "weights_sha256": "1"}
        return line("m", 1.0, consistency={"inter_visual": entry, "inter_semantic": {**entry, "value": None}})

    films = scope.metrics.Reference(
        40, {"inter_visual": tuple(k / 40 for k in range(40))}, {"inter_visual": "a:1"}, "x"
    )
    many = [scored(k / 40) for k in range(40)]
    (table,) = methods_table(many, reference=films)
    assert table["gap"]["inter_visual"]["distance"] == 0
    assert "no value at all" in table["gap"]["inter_semantic"]["reason"]
    (few,) = methods_table(many[:19], reference=films)
    assert "at least 20 videos" in few["gap"]["inter_visual"]["reason"]
    (mixed,) = methods_table([*many, scored(0.5, "b")], reference=films)
    assert mixed["gap"]["inter_visual"]["reason"] == "expected one encoder, got a:1, b:1"


def test_tables_come_back_as_they_went(film: np.ndarray, tmp_path: Path) -> None:
    import csv

    parquet = pytest.importorskip("pyarrow.parquet")
    plan = scope.ShotPlan.from_frames([13], num_frames=33, fps=16)
    head = {
        "file": "a.mp4",
        "method": "m",
        "group": None,
        "status": "ok",
        "error": None,
        "cuts_marked_frame": None,
    }
    rows = [{**head, **scope.score(film, plan, settings=QUICK)}, {**head, "status": "failed", "error": "no"}]
    flat = [flat_row(row) for row in rows]
    assert flat[0].keys() == flat[1].keys() >= set(MEASURES)
    write_csv(tmp_path / "videos.csv", flat)
    write_parquet(tmp_path / "videos.parquet", flat)
    with open(tmp_path / "videos.csv", newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["cuts_detected_frame"], float(first["transition_control"])) == ("13", 1.0)
    assert (second["error"], second["transition_control"]) == ("no", "")
    table = parquet.read_table(tmp_path / "videos.parquet").to_pylist()
    assert table[0]["inter_visual"] == measure_of(rows[0], "inter_visual")
    assert table[1]["inter_visual"] is None
    cells = flat_method(methods_table(rows)[0])
    assert (cells["num_videos"], cells["num_failed"], cells["transition_control"]) == (1, 1, 1.0)


STRANGE = [
    b"caf\xe9.mp4",
    b"caf\xe8.mp4",
    "\U0001f3ac".encode() * 60 + b".mp4",
    b"[red].mp4",
    b"[",
    b"\x1b[31m.mp4",
    b"a\nb.mp4",
    b"x" * 251 + b".mp4",
    b"<b>&amp;.mp4",
    b"=1+1.mp4",
    b"http:x.mp4",
]


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory, broken: Path) -> Path:
    """The good film under names that people, other systems and attackers give; one lies in a folder called [."""
    place = tmp_path_factory.mktemp("strange")
    content = (broken / "good.mp4").read_bytes()
    (place / "[").mkdir()
    for name in STRANGE:
        path = os.fsencode(place) + b"/" + name + (b"/final].mp4" if name == b"[" else b"")
        with open(path, "wb") as file:
            file.write(content)
    return place


def test_a_name_is_only_a_name(strange: Path, tmp_path: Path) -> None:
    from attnscope.metrics.scoring.contact_sheets import write_contact_sheet

    listed = list_videos([strange])
    rows = score_videos(listed, QUICK, folder=tmp_path)
    assert [row["status"] for row in rows] == ["ok"] * len(STRANGE)
    names = [row["file"] for row in rows]
    assert len(set(names)) == len(STRANGE)
    assert {"caf\\xe9.mp4", "caf\\xe8.mp4", "[red].mp4", "[/final].mp4", "a\\x0ab.mp4"} <= set(names)
    json.dumps(rows, ensure_ascii=False).encode()
    write_csv(tmp_path / "videos.csv", [flat_row(row) for row in rows])
    page = write_contact_sheet(tmp_path / "page.html", listed, rows).read_text(encoding="utf-8")
    assert page.count("<section>") == len(STRANGE)
    assert "<b>&amp;.mp4" not in page
    again = score_videos(listed, QUICK, folder=tmp_path)
    assert [row["file"] for row in again] == names


def test_two_films_of_one_name_are_two_rows(broken: Path, film: np.ndarray, tmp_path: Path) -> None:
    for name, frames in (("first", film), ("second", film[:13])):
        (tmp_path / name).mkdir()
        write_video(tmp_path / name / "clip.mp4", frames, 16)
    listed = list_videos([tmp_path / "first", tmp_path / "second"])
    for _ in range(2):
        rows = score_videos(listed, QUICK, folder=tmp_path / "out")
        assert [row["num_frames"] for row in rows] == [33, 13]
        assert [Path(row["file"]).parent.name for row in rows] == ["first", "second"]


def test_a_row_belongs_to_a_content(
    film: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A film replaced at equal size and time is scored anew; the same film under another name is not."""
    from attnscope.metrics.scoring import batches

    path = write_video(tmp_path / "clip.mp4", film, 16)
    (first,) = score_videos(list_videos([path]), QUICK, folder=tmp_path)
    state, size = path.stat(), path.stat().st_size
    content = write_video(tmp_path / "other.mp4", film[:13], 16).read_bytes()
    padding = size - len(content)
    path.write_bytes(content + padding.to_bytes(4, "big") + b"free" + bytes(padding - 8))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (size, state.st_mtime_ns)
    (second,) = score_videos(list_videos([path]), QUICK, folder=tmp_path)
    assert (first["num_frames"], second["num_frames"]) == (33, 13)
    monkeypatch.setattr(batches, "score_listed", lambda *given: pytest.fail("it was scored before"))
    moved = path.rename(tmp_path / "moved.mp4")
    (third,) = score_videos(list_videos([moved]), QUICK, folder=tmp_path)
    assert (third["file"], third["num_frames"]) == ("moved.mp4", 13)


@pytest.mark.parametrize(
    "trouble", [ValueError("no\nway"), MemoryError(), KeyError("x"), ZeroDivisionError("0")]
)
def test_whatever_a_file_raises_is_one_row(
    broken: Path, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    from attnscope.metrics.scoring import batches

    opened = batches.FileVideo

    def troubled(path: Path, **options: Any) -> Any:
        if path.name == "text.mp4":
            raise trouble
        return opened(path, **options)

    monkeypatch.setattr(batches, "FileVideo", troubled)
    good, text = (
        each
        for each in score_videos(list_videos([broken]), QUICK)
        if each["file"] in ("good.mp4", "text.mp4")
    )
    assert (good["status"], text["status"]) == ("ok", "failed")
    assert type(trouble).__name__ in text["error"]
    assert "\n" not in text["error"]


def test_what_the_environment_lacks_is_not_the_trouble_of_a_file(
    broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from attnscope.metrics.scoring import batches

    def missing(*given: Any, **options: Any) -> Any:
        raise SetupError(expected="a package", got="none", where="here", remedy="install it")

    monkeypatch.setattr(batches, "score_opened", missing)
    with pytest.raises(SetupError):
        score_videos(list_videos([broken]), QUICK)


@pytest.mark.parametrize(
    ("shots", "words"),
    [
        ("0-4s,4-5s", "shots over the whole video, 2.06 s"),
        ("0-0.5s,0.5-1s", "shots over the whole video"),
        ("0-13f,13-500f", "shots over the whole video"),
        ("0-13f,13-14f", "shots over the whole video"),
        ("0-0.01s,0.01-2s", "cuts that rise from frame 1 to frame 32"),
        ("0-13f,13-33f,33-36f", "cuts that rise"),
        ("0-13f,13-36f", None),
        ("0-0.8s,0.8-2s", None),
    ],
)
def test_shots_that_are_not_those_of_the_film_are_its_reason(
    broken: Path, shots: str, words: str | None
) -> None:
    (row,) = score_videos(list_videos([broken / "good.mp4"], shots=shots), QUICK)
    assert row["status"] == ("failed" if words else "ok")
    assert words is None or words in row["error"]


def test_asked_and_fallen_are_two_numbers(broken: Path) -> None:
    (row,) = score_videos(list_videos([broken / "good.mp4"], shots="0-0.8s,0.8-2s"), QUICK)
    assert (row["cuts_requested_s"], row["cuts_requested_frame"]) == ([0.8], [13])


def test_marks_and_captions_that_go_beyond_the_film(broken: Path, tmp_path: Path) -> None:
    marked = manifest(tmp_path, "file,marked_cut_frames\ngood.mp4,13 40\n")
    (row,) = score_videos(read_manifest(marked, [broken]), QUICK)
    assert "as marked_cut_frames of a video of 33 frames" in row["error"]
    captioned = manifest(tmp_path, 'file,requested_times_s\ngood.mp4,"[0,0.8] [0.8,4] [4,5]"\n')
    (row,) = score_videos(read_manifest(captioned, [broken]), QUICK)
    assert (row["status"], row["agreement"]["recall"]) == ("ok", 0.5)
    assert row["notes"] == ["a cut was asked for at frame 64 of 33, behind the end"]


def test_files_that_are_left_out_are_counted(tmp_path: Path, broken: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.txt", "b.TXT", "sub/c.json", "sub/noending", "sub/clip.MTS", "x.mkv", "y.wmv"):
        (tmp_path / name).write_bytes((broken / "good.mp4").read_bytes())
    assert [each.name for each in list_videos([tmp_path])] == ["sub/clip.MTS", "x.mkv", "y.wmv"]
    assert count_left_out([tmp_path]) == {".txt": 2, "(no ending)": 1, ".json": 1}


@pytest.mark.parametrize("name", ["x" * 300, "a/" * 2000 + "b.mp4", "nul\0.mp4"])
def test_a_name_that_cannot_be_is_no_file(tmp_path: Path, broken: Path, name: str) -> None:
    with pytest.raises(InputError, match="does not exist"):
        list_videos([tmp_path / name])
    if "\0" not in name:
        with pytest.raises(InputError, match="which is not there, in line 2"):
            read_manifest(manifest(tmp_path, f"file\n{name}\n"), [broken])


@pytest.mark.parametrize("form", ["float", "tensor", "list", "pipeline"])
def test_frames_as_pipelines_give_them(film: np.ndarray, form: str) -> None:
    forms = {
        "float": film / np.float32(255),
        "tensor": torch.from_numpy(film).permute(0, 3, 1, 2)[None].float() / 255,
        "list": list(film),
        "pipeline": [[PIL.Image.fromarray(frame) for frame in film]],
    }
    row = scope.score(forms[form], fps=16, settings=QUICK)
    assert json.dumps(row) == json.dumps(scope.score(film, fps=16, settings=QUICK))
    assert scope.metrics.detect_cuts(forms[form], 16, detector="content").cuts_frame == (13,)
