"""Many videos: what is asked of each, several at a time, and the next time from where it stopped."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attnscope as scope
from attnscope.errors import InputError, VideoError
from attnscope.metrics import Settings
from attnscope.metrics.scoring.batches import score_videos
from attnscope.metrics.scoring.manifests import BORDER, Listed, list_videos, read_manifest
from attnscope.metrics.scoring.score import Request
from attnscope.metrics.scoring.tables import (
    MEASURES,
    flat_method,
    flat_row,
    measure_of,
    methods_table,
    write_csv,
    write_parquet,
)

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
    (row,) = (tmp_path / "rows").glob("good-*.json")
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
    assert first.request_at(Fraction(16)) == Request((12,), 2, "a ball")
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
    return {"file": "a", "method": method, "group": None, "status": "ok", "error": None,
            "transition_control": control, **more}  # fmt: skip


def test_methods_are_means_over_their_videos() -> None:
    rows = [
        line("b", 0.2),
        line("a", 1.0),
        line("b", 0.6),
        line("b", None),
        {**line("b", 1.0), "status": "failed"},
    ]
    first, second = methods_table(rows)
    assert (first["method"], first["num_videos"], first["num_failed"]) == ("b", 3, 1)
    assert first["transition_control"]["mean"] == pytest.approx(0.4)
    assert (first["transition_control"]["low"], first["transition_control"]["high"]) == pytest.approx(
        (0.2, 0.6)
    )
    assert first["transition_control"]["num"] == 2
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
