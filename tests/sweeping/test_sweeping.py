"""Sweeps: every cell means what it says, what was made is not made again, and a kill at any moment costs one film."""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import attnscope as scope
from attnscope import masks
from attnscope.errors import InputError, RangeError, RunError, ShotPlanError, StoreError
from attnscope.masks import Sides, compile_rule
from attnscope.ranges import parse_range
from attnscope.sweeping.films import FilmMaker, MadeFilm
from attnscope.sweeping.reduction import reduce_labels
from attnscope.sweeping.variants import Variant, facts_of, variant_from, variants_over
from attnscope.testing.wan import tiny_wan

UNCUT = MadeFilm((), b"", b"")

PLANS = [scope.ShotPlan.from_latent_frames([cut], num_frames_latent=5, fps=16) for cut in (2, 3)]
PROMPTS = ["a red ball", "a blue cat"]
SMALL = {"height": 32, "width": 32, "num_inference_steps": 2}
LABELS, OPTIONS = range(1, 31), {"labels": range(1, 31), "num_heads": 4, "num_steps": 20}


@pytest.fixture(autouse=True)
def _no_wait_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def pipe() -> Any:
    return tiny_wan(3)


def swept(pipe: Any, out: Path, over: Any = "layers", **options: Any) -> Any:
    return scope.sweep(pipe, over, PROMPTS, shots=PLANS, out=out, **{"layers": "all", **SMALL, **options})


def cells(over: Any, **options: Any) -> tuple[Variant, ...]:
    given = {"layers": "7-28", "values": None, "window": 1, "by_layer": False, **OPTIONS, **options}
    return variants_over(over, **given)


def test_cells_begin_with_nothing_and_everything() -> None:
    none, full, *single = cells("layers")
    assert (none.label, full.label, full.layers) == ("none", "full", "7-28")
    assert [cell.layers for cell in single] == [str(layer) for layer in range(7, 29)]
    assert [cell.layers for cell in cells("layers", window=8)[2:]] == ["7-14", "15-22", "23-28"]
    assert [cell.layers for cell in cells("layers", values=["1-6", "-2:"])[2:]] == ["1-6", "29-30"]
    assert [cell.steps for cell in cells("steps", window=10)[2:]] == ["0-9", "10-19"]
    assert [cell.strength for cell in cells("strength", values=["1", 4])[2:]] == [1.0, 4.0]
    assert [cell.jitter for cell in cells("jitter")[2:]] == [1, 2, 3]
    grid = cells("heads", layers="7-8", window=2, by_layer=True)[2:]
    assert [(cell.layers, cell.heads) for cell in grid] == [
        ("7", "0-1"),
        ("7", "2-3"),
        ("8", "0-1"),
        ("8", "2-3"),
    ]
    assert (
        len({cell.digest for cell in (*cells("heads", by_layer=True), *cells("steps"), *cells("jitter"))})
        == 113
    )


def test_a_slice_of_labels_is_what_it_is_as_text() -> None:
    assert cells("layers", layers=slice(7, 28)) == cells("layers", layers="7-28")
    assert cells("layers", values=[slice(1, 6), slice(-2, None)]) == cells("layers", values=["1-6", "-2:"])
    rule = masks.band(2)
    assert masks.Intervention(rule, layers=slice(7, 28)) == masks.Intervention(rule, layers="7-28")


@pytest.mark.parametrize(
    ("over", "options", "words"),
    [
        ("layers", {"values": ["1", "9"]}, "expected layers among 1-3, got 9"),
        ("steps", {"values": ["0", "2"]}, "expected steps among 0-1, got 2"),
        ("heads", {"values": ["0", "x"]}, "expected heads like"),
        ("strength", {"values": [1.0, -1.0]}, "a strength"),
        ("jitter", {"values": [1, -1]}, "jitter"),
    ],
    ids=["no such layer", "no such step", "no number", "negative", "backwards"],
)
def test_a_sweep_whose_second_cell_cannot_be_made_leaves_nothing(
    pipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, over: Any, options: Any, words: str
) -> None:
    made: list[object] = []
    monkeypatch.setattr(FilmMaker, "make", lambda self, key: made.append(key) or ())
    with pytest.raises(InputError, match=words):
        swept(pipe, tmp_path / "s", over, **options)
    assert not (tmp_path / "s").exists()
    assert made == []


def test_cells_survive_writing_down() -> None:
    for cell in (*cells("strength"), *cells("heads")):
        assert variant_from(json.loads(json.dumps(facts_of(cell)))) == cell


def test_a_cell_is_the_intervention_that_it_names() -> None:
    plan = PLANS[0].to_latent()
    assert Variant("none").changes("same_shot", plan, LABELS, 0) == []
    (change,) = Variant("x", "7-8", "1", "0-4", 2.0).changes("same_shot", plan, LABELS, 0)
    assert change == masks.Intervention(
        masks.same_shot(plan).soft(2.0), layers=(7, 8), heads="1", steps="0-4"
    )


def test_jitter_moves_the_cuts_layer_by_layer_within_reach_and_leaves_no_shot_empty() -> None:
    plan = scope.ShotPlan.from_latent_frames([3, 4, 9], num_frames_latent=13, fps=16).to_latent()
    changes = Variant("x", jitter=2).changes("same_shot", plan, LABELS, 5)
    again = Variant("x", jitter=2).changes("same_shot", plan, LABELS, 5)
    assert changes == again
    assert sorted(layer for each in changes for layer in each.layers) == list(LABELS)
    found = [each.rule.plan.cuts for each in changes]
    assert len(found) > 5
    for cuts in found:
        assert list(cuts) == sorted(set(cuts))
        assert all(
            1 <= cut <= 12 and abs(cut - asked) <= 2 for cut, asked in zip(cuts, plan.cuts, strict=True)
        )
    for each in changes:
        assert np.isneginf(compile_rule(each.rule, Sides.of_frames(13))).any()


@pytest.mark.parametrize(
    ("over", "options", "message"),
    [
        ("colour", {}, "expected a sweep over layers, heads"),
        ("layers", {"window": 0}, "expected a window of at least 1"),
        ("layers", {"window": True}, "expected a window of at least 1"),
        ("layers", {"by_layer": True}, "by_layer with a sweep over heads only"),
        ("layers", {"layers": "29-31"}, "expected layers among 1-30, got 31"),
        ("layers", {"values": ["0"]}, "expected layers among 1-30, got 0"),
        ("layers", {"values": ["banana"]}, "layers"),
        ("heads", {"values": ["4"]}, "expected heads among 0-3, got 4"),
        ("steps", {"values": ["20"]}, "expected steps among 0-19, got 20"),
        ("strength", {"values": ["0"]}, "expected a positive number"),
        ("strength", {"values": ["-1"]}, "expected a positive number"),
        ("strength", {"values": ["inf"]}, "expected a positive number"),
        ("strength", {"values": ["much"]}, "expected a positive number"),
        ("jitter", {"values": ["1.5"]}, "expected a whole number of latent frames"),
        ("jitter", {"values": ["0"]}, "expected a whole number of latent frames"),
    ],
)
def test_cells_that_make_no_sense(over: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((InputError, RangeError), match=message) as caught:
        cells(over, **options)
    assert "\n" not in str(caught.value)


def test_the_dataset_says_what_was_made(pipe: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(FilmMaker, "make", lambda self, key: UNCUT)
    told: list[tuple[int, int]] = []
    found = swept(
        pipe, tmp_path / "s", values=["1", "2-3"], seeds=(0, 7), on_film=lambda *done: told.append(done)
    )
    assert dict(found.sizes) == {"prompt": 2, "seed": 2, "cell": 4}
    assert found.cell.values.tolist() == ["none", "full", "layers 1", "layers 2-3"]
    assert found.layers.values.tolist() == ["all", "1-3", "1", "2-3"]
    assert found.cuts_frame.values.tolist() == ["5", "9"]
    assert found.num_requested.values.tolist() == [1, 1]
    assert not found.recall.isnull().any()
    assert told[-1] == (16, 16)
    assert found.attrs["rule"] == "same_shot"
    assert scope.open_sweep(tmp_path / "s").sizes == found.sizes


def test_what_a_film_is_scored_by_is_what_generate_says(pipe: Any, tmp_path: Path, monkeypatch: Any) -> None:
    found_frame = {("none", 0): (), ("full", 0): (5,), ("none", 1): (1,), ("full", 1): (10, 14)}
    monkeypatch.setattr(
        FilmMaker, "make", lambda self, key: MadeFilm(found_frame[key.variant.label, key.film], b"", b"")
    )
    found = swept(pipe, tmp_path / "s", "strength", values=[]).isel(seed=0)
    np.testing.assert_array_equal(found.recall, [[0, 1], [0, 1]])
    np.testing.assert_array_equal(found.precision, [[np.nan, 1], [0, 0.5]])
    np.testing.assert_array_equal(found.num_detected, [[0, 1], [1, 2]])
    np.testing.assert_array_equal(found.num_matched, [[0, 1], [0, 1]])
    expected = [[0, 1], [1, scope.metrics.transition_control(2, 1)]]
    np.testing.assert_allclose(found.transition_control, expected)


def test_films_are_those_of_generate(pipe: Any, tmp_path: Path) -> None:
    films: list[Any] = []
    real = scope.generate

    def spied(*args: Any, **kwargs: Any) -> Any:
        films.append(real(*args, **kwargs))
        return films[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("attnscope.sweeping.films.generate", spied)
        swept(pipe, tmp_path / "s", values=["2"], seeds=(3,))
    rule = masks.Intervention(masks.same_shot(PLANS[0].to_latent()), layers="2")
    alone = scope.generate(pipe, PROMPTS[0], shots=PLANS[0], rule=rule, seed=3, **SMALL)
    np.testing.assert_array_equal(films[2].frames, alone.frames)


def test_nothing_is_made_twice_and_sweeps_share_a_folder(pipe: Any, tmp_path: Path, monkeypatch: Any) -> None:
    made: list[str] = []
    monkeypatch.setattr(FilmMaker, "make", lambda self, key: made.append(key.variant.label) or UNCUT)
    swept(pipe, tmp_path / "s", values=["1"])
    assert len(made) == 6
    swept(pipe, tmp_path / "s", values=["1", "2"])
    assert made[6:] == ["layers 2"] * 2
    swept(pipe, tmp_path / "s", "heads", values=["0"])
    assert made[8:] == ["heads 0"] * 2
    assert scope.open_sweep(tmp_path / "s").sizes["cell"] == 5
    swept(pipe, tmp_path / "s", values=["1"], layers="1-2")
    labels = scope.open_sweep(tmp_path / "s").cell.values.tolist()
    assert len(labels) == len(set(labels)) == 6
    assert {"full (layers 1-3)", "full (layers 1-2)"} <= set(labels)


def test_a_folder_of_other_settings_is_refused(pipe: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(FilmMaker, "make", lambda self, key: UNCUT)
    swept(pipe, tmp_path / "s", values=["1"])
    for change in ({"rule": "halo(1)"}, {"seeds": (1,)}, {"num_inference_steps": 3}, {"guidance_scale": 2.0}):
        with pytest.raises(StoreError, match="settings this sweep was begun with"):
            swept(pipe, tmp_path / "s", values=["1"], **change)
    with pytest.raises(StoreError, match="got weights"):
        swept(tiny_wan(3, seed=1), tmp_path / "s", values=["1"])
    (tmp_path / "other").mkdir()
    with pytest.raises(StoreError, match="got none in"):
        swept(pipe, tmp_path / "other", values=["1"])
    with pytest.raises(StoreError, match="got none in"):
        scope.open_sweep(tmp_path / "nowhere")


def test_a_damaged_film_is_named(pipe: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(FilmMaker, "make", lambda self, key: UNCUT)
    swept(pipe, tmp_path / "s", values=["1"])
    film = next((tmp_path / "s" / "films").glob("*.json"))
    film.write_text(film.read_text()[:-3])
    with pytest.raises(StoreError, match=film.name):
        scope.open_sweep(tmp_path / "s")


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"prompts": []}, InputError, "got 0 prompts"),
        ({"prompts": ["a", "b", "c"]}, InputError, "got 3 prompts and 2 plans"),
        ({"shots": scope.ShotPlan.from_frames([], num_frames=17, fps=16)}, ShotPlanError, "plans with a cut"),
        ({"rule": "banana"}, InputError, "banana"),
        ({"seeds": ()}, InputError, "expected seeds from 0"),
        ({"seeds": (-1,)}, InputError, "expected seeds from 0"),
        ({"processes": 0}, InputError, "expected at least 1 process"),
        ({"processes": 2}, InputError, "name of a model for 2 processes"),
        ({"num_inference_steps": 0}, InputError, "at least 1 step"),
    ],
)
def test_refusals(pipe: Any, tmp_path: Path, change: dict[str, Any], kind: type, message: str) -> None:
    given: dict[str, Any] = {"prompts": PROMPTS, "shots": PLANS, "layers": "all", **SMALL, **change}
    with pytest.raises(kind, match=message) as caught:
        scope.sweep(pipe, "layers", out=tmp_path / "s", **given)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "s").exists()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny model on disk, so that other processes can load it."""
    place = tmp_path_factory.mktemp("model")
    tiny_wan(3).save_pretrained(place)
    return str(place)


COMMAND = """
import sys, attnscope as scope
if __name__ == "__main__":
    plans = [scope.ShotPlan.from_latent_frames([cut], num_frames_latent=5, fps=16) for cut in (2, 3)]
    scope.sweep(sys.argv[1], "layers", ["a red ball", "a blue cat"], shots=plans, out=sys.argv[2], layers="all",
        processes=int(sys.argv[3]), height=32, width=32, num_inference_steps=2)
"""


@pytest.mark.slow
def test_killed_it_goes_on_and_two_processes_find_what_one_finds(
    pipe: Any, folder: str, tmp_path: Path
) -> None:
    script, out = tmp_path / "run.py", tmp_path / "s"
    script.write_text(COMMAND)
    command = [sys.executable, str(script), folder, str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen([*command, "2"], start_new_session=True, env=environment)
    try:
        until = time.monotonic() + 240
        while len(list(out.glob("films/*.json"))) < 2:
            assert running.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("films/*.json")}
    assert 2 <= len(before) < 10
    scope.open_sweep(out)
    swept(pipe, out)
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("films/*.json")}
    assert len(after) == 10
    assert {name: after[name] for name in before} == before
    # what two processes found, and what one found of the rest, is what one finds of all
    xr.testing.assert_identical(swept(pipe, out), swept(pipe, tmp_path / "alone"))


class DyingPool(ThreadPoolExecutor):
    """A pool of processes one of which was killed: its first film comes, the second never does."""

    def __init__(self, num_processes: int, *_: Any) -> None:
        super().__init__(1)
        self.num_asked = 0

    def submit(self, *_: Any, **__: Any) -> Future[Any]:
        self.num_asked += 1
        future: Future[Any] = Future()
        if self.num_asked == 1:
            future.set_result(MadeFilm((5,), b"", b""))
        else:
            future.set_exception(BrokenProcessPool("terminated abruptly"))
        return future


def test_a_process_that_dies_is_said_in_one_line_and_what_was_made_is_kept(
    folder: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("attnscope.sweeping.films.ProcessPoolExecutor", DyingPool)
    monkeypatch.setattr("attnscope.sweeping.films.as_completed", list)
    with pytest.raises(RunError, match="got one that died") as caught:
        swept(folder, tmp_path / "s", values=["1"], processes=2)
    assert "\n" not in str(caught.value)
    assert int(scope.open_sweep(tmp_path / "s").recall.notnull().sum()) == 1


@pytest.mark.parametrize("num_needed", [1, 2, 3])
def test_reduction_finds_what_is_needed_and_nothing_else(num_needed: int) -> None:
    """Where more labels never hurt, the smallest set is the one that is needed: all choices of up to 3 out of 9."""
    for needed in itertools.combinations(range(1, 10), num_needed):
        asked: list[tuple[int, ...]] = []

        def holds(kept: tuple[int, ...], needed: tuple[int, ...] = needed, asked: Any = asked) -> bool:
            asked.append(kept)
            return set(needed) <= set(kept)

        assert reduce_labels(range(1, 10), holds) == needed
        assert len(asked) <= 60


def test_reduction_ends_where_no_label_can_be_left_out() -> None:
    """Also where more is not always better: it holds for the result and for no set with one label less."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        good = {tuple(sorted(rng.choice(8, rng.integers(1, 8), replace=False).tolist())) for _ in range(30)}
        good.add(tuple(range(8)))
        found = reduce_labels(range(8), good.__contains__)
        assert found in good
        for label in found:
            assert len(found) == 1 or tuple(each for each in found if each != label) not in good


def test_the_smallest_layers_that_cut(pipe: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """A model that cuts only if layer 2 is masked and at least one of 1 and 3."""
    wide, asked = tiny_wan(4), []

    def make(self: Any, key: Any) -> MadeFilm:
        chosen = set(parse_range(key.variant.layers, range(1, 5), name="layers"))
        asked.append(key.variant.layers)
        cuts = 2 in chosen and chosen & {1, 3}
        return MadeFilm(tuple(self.plans[key.film].realised_frame), b"", b"") if cuts else UNCUT

    monkeypatch.setattr(FilmMaker, "make", make)
    found = scope.find_layers(wide, PROMPTS, shots=PLANS, out=tmp_path / "s", **SMALL)
    assert (found.layers, found.score, found.full_score) in (("1-2", 1.0, 1.0), ("2-3", 1.0, 1.0))
    assert found.trail[0] == ("1-4", 1.0)
    assert found.num_held_out == len(PROMPTS) // 2
    num_asked = len(asked)
    assert scope.find_layers(wide, PROMPTS, shots=PLANS, out=tmp_path / "s", **SMALL) == found
    assert len(asked) == num_asked
    monkeypatch.setattr(FilmMaker, "make", lambda self, key: UNCUT)
    with pytest.raises(InputError, match="a rule that cuts in all of layers 1-4"):
        scope.find_layers(wide, PROMPTS, shots=PLANS, out=tmp_path / "other", **SMALL)
    for wrong in ({"keep": 0}, {"keep": math.nan}, {"measure": "beauty"}, {"over": "steps"}):
        with pytest.raises(InputError, match="0.95 is usual"):
            scope.find_layers(wide, PROMPTS, shots=PLANS, out=tmp_path / "s", **SMALL, **wrong)


def test_what_was_found_is_reported_on_other_films(tmp_path: Path, monkeypatch: Any) -> None:
    """A model in which layer 2 cuts the films of the search, and layer 3 the others."""
    wide = tiny_wan(4)

    def make(self: Any, key: Any) -> MadeFilm:
        needed = 2 if key.film < 2 else 3
        chosen = parse_range(key.variant.layers, range(1, 5), name="layers")
        return MadeFilm(tuple(self.plans[key.film].realised_frame), b"", b"") if needed in chosen else UNCUT

    monkeypatch.setattr(FilmMaker, "make", make)
    prompts, plans = ["a", "b", "c"], [PLANS[0]] * 3
    found = scope.find_layers(wide, prompts, shots=plans, out=tmp_path / "s", held_out=1, **SMALL)
    assert (found.layers, found.searched_score) == ("2", 1.0)
    assert (found.score, found.full_score, found.num_held_out) == (0.0, 1.0, 1)
