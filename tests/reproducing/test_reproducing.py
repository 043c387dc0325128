"""A study ends with the same document however it was stopped, and says of every number whether it can be compared."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from attnscope import structure
from attnscope.errors import InputError, StoreError
from attnscope.masks import compile_rule
from attnscope.probing.share import Share
from attnscope.reproducing import ablating, cinetrans, observing, page, paper, prompts
from attnscope.reproducing.ablating import CONDITIONS, build_change
from attnscope.reproducing.cinetrans import Study, reproduce_cinetrans
from attnscope.reproducing.noise import share_noise
from attnscope.reproducing.prompts import ScriptedFilm, draw_cuts, plan_films, read_films
from attnscope.shots import ShotPlan
from attnscope.storage import open_store
from attnscope.testing import specimen, tiny
from attnscope.testing.wan import tiny_wan

FILMS = (
    ScriptedFilm("a red ball", ("on the beach", "on the street"), "one shot a red ball"),
    ScriptedFilm("a cat", ("on the beach", "on the street"), "one shot a cat"),
)
STUDY = Study("tiny", FILMS, "two films")
OF_ALL = ("step", "head", "layer")
SMALL = {"num_frames": 17, "height": 32, "width": 32, "num_inference_steps": 2, "max_sequence_length": 9}


class Killed(BaseException):
    """As a signal would end it: nothing catches this."""


@pytest.fixture(scope="module")
def pipe() -> Any:
    return tiny_wan(num_layers=2)


@pytest.fixture(scope="module")
def whole(pipe: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    assert reproduce_cinetrans(pipe, STUDY, out, **SMALL) is not None
    return out


def documents(out: Path) -> tuple[bytes, bytes]:
    return (out / "result.json").read_bytes(), (out / "page.html").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("point", [0, 1, 5, 9, 14])
def test_killed_and_resumed_it_ends_with_the_same_document(
    point: int, pipe: Any, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0 kills before the first film of the ablation, 14 after the last one and before the page."""
    made = []

    def killing(*arguments: Any, **keywords: Any) -> Any:
        if len(made) == point:
            raise Killed
        made.append(1)
        return generate(*arguments, **keywords)

    generate, finish = ablating.generate, cinetrans.finish
    monkeypatch.setattr(ablating, "generate", killing)
    if point == 14:

        def kill(*_: Any) -> None:
            raise Killed

        monkeypatch.setattr(cinetrans, "finish", kill)
    with pytest.raises(Killed):
        reproduce_cinetrans(pipe, STUDY, tmp_path, **SMALL)
    assert not (tmp_path / "page.html").exists()
    monkeypatch.setattr(ablating, "generate", generate)
    monkeypatch.setattr(cinetrans, "finish", finish)
    reproduce_cinetrans(pipe, STUDY, tmp_path, **SMALL)
    assert documents(tmp_path) == documents(whole)


def test_two_processes_share_the_films_and_the_second_writes_the_page(
    pipe: Any, whole: Path, tmp_path: Path
) -> None:
    assert reproduce_cinetrans(pipe, STUDY, tmp_path, share=Share(0, 2), **SMALL) is None
    assert len(list((tmp_path / "films").rglob("*.json"))) == 7
    assert reproduce_cinetrans(pipe, STUDY, tmp_path, share=Share(1, 2), **SMALL) is not None
    assert documents(tmp_path) == documents(whole)


def test_every_number_says_whether_it_can_be_compared(whole: Path) -> None:
    result = json.loads((whole / "result.json").read_text())
    assert result["comparable_with_paper"] is False
    assert any("not public" in reason for reason in result["reasons"])
    assert [line["condition"] for line in result["scores"]] == list(CONDITIONS)
    for line in result["scores"]:
        for name in paper.COLUMNS:
            assert line[name]["comparable"] is False
            assert line[name]["why_not"]
    assert result["scores"][0]["transition_control"]["paper"] == 0.2051
    text = (whole / "page.html").read_text()
    assert "26.680" in text
    assert "http" not in text.replace("http-equiv", "")
    drawn = 3 + (result["observation"]["found"]["num_films_cut"] > 0)
    assert text.count("data:image/png;base64,") == drawn


def test_the_numbers_are_those_of_the_store(whole: Path) -> None:
    attention = open_store(whole / "attention.zarr")
    found = observing.summarise(attention, [1])
    values = structure.contrast(attention.sel(branch="cond"), over=OF_ALL).values
    assert found["numbers"]["contrast"]["value"] == pytest.approx(float(np.exp(np.log(values).mean())))
    grid = np.array(found["by_layer_and_step"]["adjusted_contrast"])
    one = structure.adjusted_contrast(attention.sel(branch="cond", layer=[2], step=[1]), over=("head",))
    assert grid[1, 1] == pytest.approx(float(np.exp(np.nanmean(np.log(one.values)))))
    assert found["cut_test"]["reason"]


def test_what_is_observed_is_measured_against_the_cuts_that_films_have(whole: Path) -> None:
    attention = open_store(whole / "attention.zarr")
    both = observing.summarise_both(attention, [1], [(9,), ()], "span")
    assert json.dumps(both["asked"]) == json.dumps(observing.summarise(attention, [1]))  # nan is nan
    found = both["found"]
    assert (found["detector"], found["cuts_frame"], found["num_films_cut"]) == ("span", [[9], []], 1)
    values = structure.contrast(
        structure.with_cuts(attention.isel(prompt=[0]), [(9,)]).sel(branch="cond"), over=OF_ALL
    )
    assert found["numbers"]["contrast"]["value"] == pytest.approx(float(values[0]))
    none = observing.summarise_both(attention, [1], [(), ()], "span")["found"]
    assert none == {"detector": "span", "cuts_frame": [[], []], "num_films_cut": 0}


@pytest.mark.parametrize("cuts", [[(9,), ()], [(), ()]])
def test_a_page_is_written_whether_films_are_cut_or_not(
    cuts: list[tuple[int, ...]], whole: Path, tmp_path: Path
) -> None:
    attention, result = open_store(whole / "attention.zarr"), json.loads((whole / "result.json").read_text())
    result["observation"] = observing.summarise_both(attention, [1], cuts, "span")
    text = page.write_page(result, attention, [], tmp_path).read_text()
    assert f"{sum(map(bool, cuts))} of 2 films have any" in text
    assert text.count("data:image/png;base64,") == 3 + any(cuts)


@pytest.mark.parametrize("name", ["wan", "cogvideox", "lavie"])
def test_with_one_shot_the_noise_is_what_the_pipeline_draws_itself(name: str) -> None:
    pipe, model = tiny(name), specimen(name)
    settings = model.settings
    latent = model.family.num_latent_frames(pipe, settings["num_frames"])
    plan = ShotPlan.from_frames([], num_frames=settings["num_frames"], fps=16)
    shared = share_noise(pipe, plan.to_latent(model.family.temporal_stride(pipe)), settings, 7)
    assert shared.shape[model.family.frame_axis] == latent
    torch.testing.assert_close(model.run(pipe, latents=shared), model.run(pipe), rtol=0, atol=0)


def test_every_shot_begins_with_the_noise_of_the_longest(pipe: Any) -> None:
    plan = ShotPlan.from_latent_frames([1, 4], num_frames_latent=6, fps=16).to_latent(4)
    noise = share_noise(pipe, plan, {"height": 32, "width": 32}, 3)
    assert torch.equal(noise[:, :, :1], noise[:, :, 1:2])
    assert torch.equal(noise[:, :, 4:], noise[:, :, 1:3])
    assert not torch.equal(noise[:, :, 3], noise[:, :, 1])


@pytest.mark.parametrize("name", ["ltx", "wan-i2v", "cogvideox-1.5"])
def test_where_noise_cannot_be_chosen_the_condition_is_left_out_with_its_reason(name: str) -> None:
    conditions, left_out = ablating.list_conditions(tiny(name))
    assert list(left_out) == ["same noise"]
    assert left_out["same noise"]
    assert set(conditions) | set(left_out) == set(CONDITIONS)


def test_films_of_another_request_are_refused(pipe: Any, whole: Path) -> None:
    with pytest.raises(StoreError):
        reproduce_cinetrans(pipe, STUDY, whole, **{**SMALL, "num_inference_steps": 1})


def test_conditions_are_what_they_say() -> None:
    plan = ShotPlan.from_latent_frames([2], num_frames_latent=5, fps=16)
    from attnscope.masks import Group, Sides

    sides = Sides.joint(tuple(Group("frame", index) for index in range(5)), stride=4, sigma=1.0)

    def seen(condition: str) -> np.ndarray:
        change: Any = build_change(condition, plan, "all", 4)
        return np.isfinite(compile_rule(change.rule, sides))

    shot = np.arange(5) >= 2
    blocks = shot[:, None] == shot
    assert (seen("blocks") == blocks).all()
    assert (seen("first frame") == (blocks | (np.arange(5) == 0))).all()
    for control in ("permuted", "band"):
        assert seen(control).sum() == blocks.sum()
        assert (seen(control) != blocks).any()
    assert (seen("other boundary") != blocks).any()
    assert build_change("none", plan, "all", 4) is None


def test_the_packaged_films_are_a_hundred_different_ones() -> None:
    films = read_films()
    assert len(films) == len({film.general for film in films}) == 100
    assert len({caption for film in films for caption in film.captions}) == sum(
        len(film.captions) for film in films
    )
    assert min(Counter(len(film.captions) for film in films).values()) >= 20
    assert all(5 <= len(film.general.split()) <= 40 for film in films)
    assert all(5 <= len(caption.split()) <= 40 for film in films for caption in film.captions)


def test_cuts_leave_every_shot_its_length_and_come_everywhere() -> None:
    cuts = [draw_cuts(3, 13, random.Random(seed)) for seed in range(400)]
    lengths = [np.diff([0, *each, 13]) for each in cuts]
    assert min(map(min, lengths)) == 2
    assert {each[0] for each in cuts} == set(range(2, 10))


def test_prompts_carry_their_shots_and_the_single_one_does_not() -> None:
    film, _ = plan_films(FILMS, num_frames_latent=13, stride=4, fps=16)
    assert ShotPlan.from_prompt(film.prompt, fps=16).cuts_frame == film.plan.cuts_frame
    assert film.single == "one shot a red ball"


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '[{"general": "a", "captions": ["b"]}]', '[{"general": "", "captions": ["b", "c"]}]', "[1]"],
)
def test_what_is_no_list_of_films_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "films.json"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        prompts.read_films(path)
    assert "\n" not in str(caught.value)
