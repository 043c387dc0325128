"""Films go in, clips come out: against cuts that are known, with every decision and its reason, and nothing twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from attnscope.dataset import jobs
from attnscope.dataset.building import build_dataset
from attnscope.dataset.published.checking import validate_dataset
from attnscope.dataset.published.tables import CLIPS, SOURCES, read_clips, read_sources
from attnscope.dataset.settings import Settings
from attnscope.errors import InputError
from attnscope.metrics.scoring.manifests import read_manifest
from attnscope.video import read_frames, write_video


def test_shots_are_those_that_were_drawn_and_no_frame_shows_two(dataset) -> None:
    clips = {clip.file: clip for clip in read_clips(dataset.built.out)}
    assert set(clips) == set(dataset.truth)
    for file, (cuts, dissolve) in dataset.truth.items():
        clip = clips[file]
        (cut,) = cuts
        mixed = set(range(cut, cut + dissolve))
        held = {
            frame for shot in clip.shots for frame in range(shot.source_start_frame, shot.source_stop_frame)
        }
        listed = {frame for each in clip.removed for frame in range(each.start_frame, each.stop_frame)}
        assert not held & mixed, file
        assert held | listed == set(range(clip.start_frame, clip.stop_frame)), "every frame is held or listed"
        assert not held & listed
        assert len(clip.shots) == 2
        middle = (clip.shots[0].source_stop_frame + clip.shots[1].source_start_frame) / 2
        assert abs(middle - (cut + dissolve / 2)) <= 1


def test_a_clip_is_its_frames_of_the_film(dataset) -> None:
    for clip in read_clips(dataset.built.out):
        assert clip.uri is not None
        film = read_frames(dataset.films / clip.file).astype(int)
        seen = read_frames(dataset.built.out / clip.uri).astype(int)
        assert len(seen) == clip.num_frames
        for shot in clip.shots:
            meant = film[shot.source_start_frame : shot.source_stop_frame]
            assert np.abs(seen[shot.start_frame : shot.stop_frame] - meant).mean() < 6


def test_what_is_no_film_is_a_row_with_its_reason(dataset) -> None:
    rows = {row.file: row for row in read_sources(dataset.built.out)}
    assert list(rows) == ["0.mp4", "2.mp4", "deep/1.mp4", "empty.mp4", "text.mp4"]
    assert {file for file, row in rows.items() if row.status == "failed"} == {"empty.mp4", "text.mp4"}
    for row in rows.values():
        assert (row.error is None) == (row.status == "ok")
        assert str(dataset.films) not in (row.error or "")
    assert (dataset.built.facts.num_sources, dataset.built.facts.num_failed) == (5, 2)


def test_the_dataset_is_valid_and_its_manifest_is_one(dataset) -> None:
    assert validate_dataset(dataset.built.out) == []
    listed = read_manifest(dataset.built.out / "manifest.csv", [])
    assert len(listed) == 3
    assert all(each.cuts_frame and len(each.cuts_frame) == 1 for each in listed)


def test_nobody_captioned_and_nothing_is_said(dataset) -> None:
    for clip in read_clips(dataset.built.out, decision=None):
        assert (clip.caption, clip.caption_state) == (None, "skipped")
        assert all(shot.caption is None for shot in clip.shots)


def test_what_was_done_is_not_done_again(
    dataset, small, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: (copied / name).read_bytes() for name in (CLIPS, SOURCES)}
    monkeypatch.setattr(jobs, "defade", lambda *_: pytest.fail("it was looked at before"))
    split = jobs.split
    monkeypatch.setattr(
        jobs,
        "split",
        lambda source, *more: split(source, *more) if source.num_bytes < 10 else pytest.fail("again"),
    )
    build_dataset(dataset.films, copied, settings=small, executor="serial")
    assert {name: (copied / name).read_bytes() for name in before} == before


def test_another_setting_is_another_contract(dataset, copied: Path, small) -> None:
    strict = Settings(**{**{f: getattr(small, f) for f in small.__struct_fields__}, "shortest_clip_s": 3.0})
    built = build_dataset(dataset.films, copied, settings=strict, executor="serial")
    rows = list(read_clips(copied, decision=None))
    assert {row.file for row in rows if row.decision == "dropped"} == {"2.mp4"}, (
        "its dissolve took a part of 3 s"
    )
    assert [reason for row in rows for reason in row.reasons if "shorter than 3 s" in reason]
    assert built.facts.dropped == {"too short": 1}
    assert validate_dataset(copied) == [], "the clip of the earlier settings is gone"


def test_a_film_that_is_replaced_is_looked_at_again(films, tmp_path: Path, small) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    path = folder / "a.mp4"
    frames = read_frames(films[0] / "0.mp4")
    out = tmp_path / "out"
    for pictures in (frames, frames[::-1]):
        write_video(path, np.ascontiguousarray(pictures), 16)
        build_dataset(folder, out, settings=small, executor="serial")
        (clip,) = read_clips(out)
        assert clip.shots[0].stop_frame == pytest.approx(
            films[1]["0.mp4"].cuts[0] if pictures is frames else 49 - films[1]["0.mp4"].cuts[0], abs=1
        )


def test_a_link_that_leads_out_of_the_folder_is_a_row(tmp_path: Path, films, small) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "a.mp4").symlink_to(films[0] / "0.mp4")
    build_dataset(folder, tmp_path / "out", settings=small, executor="serial")
    (row,) = read_sources(tmp_path / "out")
    assert row.status == "failed"
    assert "below its own folder" in (row.error or "")


def test_a_dataset_does_not_lie_among_its_films(films) -> None:
    with pytest.raises(InputError, match="beside that of the films"):
        build_dataset(films[0], films[0] / "out")
    with pytest.raises(InputError, match="a folder of films"):
        build_dataset(films[0] / "none", films[0].parent / "out")


@pytest.mark.slow
def test_processes_give_the_same_bytes(dataset, tmp_path: Path, small) -> None:
    build_dataset(dataset.films, tmp_path / "out", settings=small, executor="process", processes=2)
    for name in (CLIPS, SOURCES, "manifest.csv", "dataset.json"):
        assert (tmp_path / "out" / name).read_bytes() == (dataset.built.out / name).read_bytes()
