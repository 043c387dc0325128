"""`attnscope probe`: what it prints, what it writes, that it resumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from PIL import Image

import attnscope
from attnscope import structure, testing
from attnscope.cli import _report
from attnscope.dataset import render, sample_scene
from attnscope.storage import Store, open_store, validate_store
from attnscope.video.files import read_frames, write_video

DRAW_FIGURES = _report.draw_figures  # before the fixtures take it away
KEYS = {
    "store",
    "model",
    "layers",
    "modules",
    "steps",
    "num_frames_latent",
    "cuts_requested_s",
    "cuts_realised_frame",
    "contrast",
    "contrast_no_diagonal",
    "pearson_r",
    "adjusted_contrast",
    "adjusted_r",
    "p",
    "p_reason",
    "pearson_r_distance_removed",
    "contrast_by_layer",
    "figures",
}
SMALL = ("--num-frames", 17, "--height", 64, "--width", 64, "--num-inference-steps", 2)


def json_of(outcome: Any) -> dict[str, Any]:
    assert (outcome.code, outcome.err) == (0, "")
    document: dict[str, Any] = json.loads(outcome.out)
    assert set(document) >= KEYS
    return document


def plain(summary: Any) -> Any:
    """A summary as JSON gives it back: keys are text there."""
    return json.loads(json.dumps(summary))


def test_the_demonstration_needs_nothing(run: Any, tmp_path: Path) -> None:
    found = json_of(run("probe", "--json", "--out", "d", "--sigmas", "0.5"))
    assert found["store"] == "d/attention.zarr"
    assert found["model"] == "wan-mini"
    assert found["layers"] == "1-2"
    assert found["modules"] == ["blocks.0.attn1", "blocks.1.attn1"]
    drawn = render(sample_scene(20, num_shots=3, num_frames=49), height=64, width=64)
    (film,) = found["films"]
    assert np.abs(read_frames(film["video"]).astype(int) - drawn).mean() < 3  # as it was shown, but for H.264
    with Image.open(film["strip"]) as strip:
        assert strip.height == 64
    assert found["num_frames_latent"] == 13
    assert len(found["cuts_requested_s"]) == len(found["cuts_realised_frame"]) == 2
    assert found["sigmas"] == [0.5]
    assert json.loads((tmp_path / "d" / "summary.json").read_text()) == found
    assert validate_store(tmp_path / "d" / "attention.zarr") == []
    dataset = open_store(tmp_path / "d" / "attention.zarr")
    assert {name: found[name] for name in structure.summary(dataset)} == plain(structure.summary(dataset))


def test_the_demonstration_is_as_long_as_a_film_of_the_model(run: Any) -> None:
    """16 frames at 8 a second, each its own latent frame: the film of wan-mini would be 49 of them."""
    found = json_of(run("probe", "--json", "--model", "unet-mini", "--out", "d", "--sigmas", "0.5"))
    drawn = render(sample_scene(20, num_shots=3, num_frames=16, fps=8, stride=1), height=64, width=64)
    (film,) = found["films"]
    assert np.abs(read_frames(film["video"]).astype(int) - drawn).mean() < 3
    assert (found["layers"], found["num_frames_latent"]) == ("1-11", 16)


def test_results_go_below_runs_under_a_name_of_their_own(run: Any, tmp_path: Path) -> None:
    first = json_of(run("probe", "--json", "--sigmas", "0.5", "--layers", 1))
    second = json_of(run("probe", "--json", "--sigmas", "0.25", "--layers", 1))
    assert first["store"] != second["store"]
    assert all(Path(found["store"]).parts[0] == "runs" for found in (first, second))
    assert all((tmp_path / found["store"]).is_dir() for found in (first, second))


@pytest.mark.parametrize(
    ("shots", "asked_s"), [("0-0.5s,0.5-1.05s", [0.5]), ("0-8f,8-17f", [0.5]), ("0-0.5s,0.5s-1.05s", [0.5])]
)
def test_a_prompt_with_shots_beside_it(run: Any, shots: str, asked_s: list[float]) -> None:
    found = json_of(run("probe", "--json", "--out", "p", "--prompt", "a red ball", "--shots", shots, *SMALL))
    assert found["cuts_requested_s"] == asked_s
    assert found["cuts_realised_frame"] == [9]
    assert found["steps"] == [0, 1]
    assert set(found["contrast_by_layer"]) == {"1", "2"}


def test_python_and_the_command_line_print_the_same(run: Any, tiny: Any) -> None:
    """One definition: what README computes in Python is what the command prints, against asked and found cuts."""
    shots = "0-8f,8-17f"
    found = json_of(run("probe", "--json", "--out", "p", "--prompt", "a red ball", "--shots", shots, *SMALL))
    frames: list[Any] = []
    attention = attnscope.probe(
        tiny,
        "a red ball",
        shots=attnscope.ShotPlan.from_spec(shots, fps=16),
        num_frames=17,
        height=64,
        width=64,
        num_inference_steps=2,
        on_video=lambda run, video: frames.append(video),
    )
    numbers = plain(structure.summary(attention))
    assert {name: found[name] for name in numbers} == numbers
    by_layer = structure.contrast(attention).squeeze()
    for layer in (1, 2):
        assert found["contrast_by_layer"][str(layer)] == pytest.approx(float(by_layer.sel(layer=layer)))
    cuts = found["against_cuts_found"]["cuts_found_frame"]
    there = plain(structure.summary(structure.with_cuts(attention, [cuts])))
    there.pop("notes")
    assert {name: found["against_cuts_found"][name] for name in there} == there
    pictures = (255 * frames[0]).round().astype("uint8")
    assert attnscope.metrics.detect_cuts(
        pictures, 16, detector="span", shortest_shot_s=0
    ).cuts_frame == tuple(cuts)


def test_a_table_says_which_cuts_it_is_about(run: Any) -> None:
    outcome = run("probe", "--out", "p", "--prompt", "a red ball", "--shots", "0-8f,8-17f", *SMALL)
    assert outcome.code == 0
    assert "Attention across the cuts asked for" in outcome.out
    assert "Attention across the cuts found in the film" in outcome.out
    assert "no p: one film: only 2 plans are as likely as its cuts; 4 films" in " ".join(outcome.out.split())


def test_a_model_in_a_folder_is_given_as_much_text_as_it_reads(run: Any, tmp_path: Path, capsys: Any) -> None:
    """CogVideoX 1.0 adds positions behind a text of one length, which need not be the default of its pipeline."""
    testing.tiny("cogvideox").save_pretrained(tmp_path / "cog")
    capsys.readouterr()
    words = (
        "--model",
        "cog",
        "--prompt",
        "a red ball",
        "--height",
        32,
        "--width",
        32,
        "--num-inference-steps",
        2,
    )
    found = json_of(run("probe", "--json", "--out", "p", "--num-frames", 9, *words))
    assert (found["layers"], found["num_frames_latent"]) == ("1-2", 3)
    film = run("generate", "--out", "c.mp4", "--shots", "0-5f,5-9f", "--rule", "same_shot", "--json", *words)
    assert (film.code, film.err) == (0, "")
    assert read_frames(tmp_path / "c.mp4").shape == (9, 32, 32, 3)


def test_a_prompt_that_carries_its_shots_sets_the_length(run: Any) -> None:
    prompt = "Two shots: a cat; Shot 1: [0s, 0.5s] a street; Shot 2: [0.5s, 1.0s] a beach"
    found = json_of(run("probe", "--json", "--out", "p", "--prompt", prompt, *SMALL[2:]))
    assert found["num_frames_latent"] == 5
    assert found["cuts_requested_s"] == [0.5]


def test_a_prompt_without_shots_still_gives_its_maps(run: Any, tmp_path: Path) -> None:
    found = json_of(run("probe", "--json", "--out", "p", "--prompt", "a red ball", *SMALL))
    assert found["contrast"] is None
    assert found["pearson_r"] is None
    assert found["cuts_requested_s"] == found["cuts_realised_frame"] == []
    assert "give the shots with --shots" in " ".join(found["notes"])
    again = run("structure", tmp_path / "p" / "attention.zarr", "--json")
    assert json.loads(again.out)["contrast"] is None
    table = run("probe", "--out", "p", "--prompt", "a red ball", *SMALL)
    assert table.code == 0
    assert "note: " in table.out


def test_the_video_of_every_prompt_is_kept_and_made_once(run: Any, tmp_path: Path) -> None:
    words = ("probe", "--json", "--out", "p", "--prompt", "a red ball", *SMALL)
    run(*words)
    video = tmp_path / "p" / "video-000.mp4"
    assert read_frames(video).shape == (17, 64, 64, 3)
    before = video.stat().st_mtime_ns
    run(*words)
    assert video.stat().st_mtime_ns == before
    assert not list(video.parent.glob("*.partial*"))


def test_prompts_of_a_file_each_with_its_shots(run: Any, tmp_path: Path) -> None:
    timed = "Two shots: a cat; Shot 1: [0s, {0}s] a street; Shot 2: [{0}s, 1.0s] a beach"
    lines = ["# a comment", "", timed.format(0.5), "  " + timed.format(0.25)]
    (tmp_path / "prompts.txt").write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    found = json_of(run("probe", "--json", "--out", "p", "--prompts", "prompts.txt", *SMALL[2:]))
    assert found["cuts_requested_s"] == [[0.5], [0.25]]
    assert found["cuts_realised_frame"] == [[9], [5]]
    dataset = open_store(tmp_path / "p" / "attention.zarr")
    assert dataset.text.values.tolist() == [timed.format(0.5), timed.format(0.25)]
    assert dataset.seed.values.tolist() == [0, 1]


def test_a_video_with_its_shots(run: Any, clip: Path, tmp_path: Path) -> None:
    words = (
        "probe",
        "--json",
        "--out",
        "v",
        "--video",
        clip,
        "--shots",
        "0-9f,9-17f",
        "--sigmas",
        "0.25,0.5",
    )
    found = json_of(run(*words, "--crop", "0.1,0,0.1,0"))
    assert found["cuts_realised_frame"] == [9]
    assert found["sigmas"] == [0.5, 0.25]
    dataset = xr.open_zarr(tmp_path / "v" / "attention.zarr")
    assert dataset.query_shot.values.tolist() == [0, 0, 0, 1, 1]


def test_shots_of_a_video_are_on_the_clock_of_its_file(run: Any, tmp_path: Path) -> None:
    film = render(sample_scene(3, num_shots=2, num_frames=33))
    write_video(tmp_path / "fast.mp4", film, 32)
    words = ("probe", "--json", "--video", "fast.mp4", "--sigmas", "0.5", "--layers", 1)
    frames = json_of(run(*words, "--out", "f", "--shots", "0-17f,17-33f"))
    seconds = json_of(run(*words, "--out", "s", "--shots", "0-0.53125s,0.53125-1.03125s"))
    assert frames["num_frames_latent"] == 5
    assert frames["cuts_requested_s"] == seconds["cuts_requested_s"] == [17 / 32]
    thinned = json_of(run(*words, "--out", "t", "--shots", "0-0.41s,0.41-1.03125s", "--num-frames", 9))
    assert thinned["cuts_requested_s"] == [0.41], "as asked, not where it fell"
    assert frames["cuts_realised_frame"] == seconds["cuts_realised_frame"] == [9]


def test_selections_reach_the_store(run: Any, tmp_path: Path) -> None:
    words = ("--layers", "2", "--heads", "1", "--steps", "1", "--branch", "uncond,cond", "--seed", 7)
    found = json_of(run("probe", "--json", "--out", "p", "--prompt", "a cat", *words, *SMALL))
    assert (found["layers"], found["steps"], found["branch"]) == ("2", [1], "uncond")
    dataset = open_store(tmp_path / "p" / "attention.zarr")
    assert dataset.branch.values.tolist() == ["uncond", "cond"]
    assert (dataset["head"].values.tolist(), dataset.seed.values.tolist()) == ([1], [7])


def test_the_same_command_again_runs_no_model(run: Any, tiny: Any) -> None:
    words = ("probe", "--json", "--out", "p", "--prompt", "a cat", "--shots", "0-9f,9-17f", *SMALL)
    first = run(*words)
    calls: list[object] = []
    handle = tiny.transformer.register_forward_pre_hook(lambda *seen: calls.append(seen))
    try:
        again = run(*words)
    finally:
        handle.remove()
    assert calls == []
    assert again == first


def test_a_killed_run_goes_on_where_it_stopped(run: Any, tiny: Any, monkeypatch: Any) -> None:
    words = ("probe", "--json", "--out", "p", "--prompt", "a cat", "--branch", "cond", *SMALL)
    whole = run("probe", "--json", "--out", "q", *words[4:])
    appended = Store.append

    def interrupt(*unit: Any) -> None:
        appended(*unit)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Store, "append", interrupt)
        stopped = run(*words)
    assert (stopped.code, stopped.out) == (130, "")
    assert stopped.err == "attnscope: interrupted; the same command goes on where this one stopped\n"
    unfinished = run("structure", "p/attention.zarr", "--json")
    assert unfinished.code == 0
    assert "unfinished: " in " ".join(json.loads(unfinished.out)["notes"])
    assert "unfinished: " in run("validate", "p/attention.zarr").out
    assert json.loads(run(*words).out.replace('"p/', '"q/')) == json.loads(whole.out)


def test_without_json_a_table_for_people(run: Any) -> None:
    outcome = run("probe", "--out", "p", "--prompt", "a cat", "--shots", "0-9f,9-17f", *SMALL)
    assert (outcome.code, outcome.err) == (0, "")
    assert "Attention across the cuts" in outcome.out
    assert "intra-shot mass / inter-shot mass" in outcome.out
    assert "p/attention.zarr" in outcome.out
    assert "layer 1" in outcome.out


def test_pictures_are_drawn_as_png_and_pdf(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Path
) -> None:
    monkeypatch.setattr(_report, "draw_figures", DRAW_FIGURES)
    words = ("--prompt", "a cat", "--shots", "0-9f,9-17f", "--steps", 0, "--layers", 1, *SMALL)
    found = json_of(run("probe", "--json", "--out", "p", *words))
    stems = ("maps", "profile", "overview")
    assert found["figures"] == [f"p/{stem}.{kind}" for stem in stems for kind in ("png", "pdf")]
    begins = {"png": b"\x89PNG", "pdf": b"%PDF"}
    assert all((tmp_path / name).read_bytes().startswith(begins[name[-3:]]) for name in found["figures"])
