"""Procedural films: the cuts that are promised are the cuts that are in the pixels."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnscope import ShotPlan
from attnscope.dataset import render, sample_scene, vocabulary
from attnscope.dataset.drawing.worlds import WORLDS
from attnscope.errors import InputError, ShotPlanError

every_world = pytest.mark.parametrize("world", WORLDS)


def jumps(frames: np.ndarray) -> np.ndarray:
    """Mean absolute change into each frame, frame 0 left out."""
    return np.abs(np.diff(frames.astype(np.int16), axis=0)).mean(axis=(1, 2, 3))


@given(st.integers(0, 10_000), st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_cuts_lie_on_the_latent_grid_and_apart(seed: int, num_shots: int) -> None:
    plan = sample_scene(seed, num_shots=num_shots).plan
    assert plan.num_shots == num_shots
    assert all(cut % 4 == 1 for cut in plan.cuts_frame)
    latent = plan.to_latent()
    edges = [0, *latent.cuts, latent.num_frames]
    assert min(np.diff(edges)) >= 2
    assert latent.realised_frame == plan.cuts_frame


def test_every_plan_is_equally_likely() -> None:
    cuts = [sample_scene(seed, num_shots=2).plan.to_latent().cuts[0] for seed in range(2000)]
    counts = np.bincount(cuts, minlength=13)
    assert set(np.flatnonzero(counts)) == set(range(2, 12))
    assert counts[2:12].min() > 140, "10 places, 200 expected each"


@every_world
def test_pixels_jump_at_cuts_and_nowhere_else(world: str) -> None:
    at_cut, elsewhere = [], []
    for seed in range(60):
        scene = sample_scene(seed, num_shots=3, world=world)
        change = jumps(render(scene))
        is_cut = np.isin(np.arange(1, len(change) + 1), scene.plan.cuts_frame)
        at_cut.append(change[is_cut].min())
        elsewhere.append(change[~is_cut].max())
    assert np.quantile(at_cut, 0.05) > 2 * np.quantile(elsewhere, 0.95)


def test_same_seed_same_pixels_other_seed_other_pixels() -> None:
    first, again, other = (render(sample_scene(seed)) for seed in (11, 11, 12))
    assert np.array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)


@pytest.mark.parametrize("world", ["textured", "plain"])
def test_a_dissolve_is_the_stated_blend(world: str) -> None:
    hard = sample_scene(4, num_shots=2, num_frames=33, world=world)
    soft = sample_scene(4, num_shots=2, num_frames=33, dissolve_frames=4, world=world)
    cut = hard.plan.cuts_frame[0]
    before, after = render(hard).astype(float), render(soft).astype(float)
    assert np.array_equal(before[:cut], after[:cut])
    assert np.array_equal(before[cut + 4 :], after[cut + 4 :])
    for k in range(4):
        weight = (k + 1) / 5
        old = (after[cut + k] - weight * before[cut + k]) / (1 - weight)
        # what remains is a picture, the old shot running on; bytes were rounded twice
        assert old.min() > -5
        assert old.max() < 260
    assert jumps(render(soft)).max() < jumps(render(hard)).max()


def test_the_plan_that_is_given_is_the_plan_that_is_drawn() -> None:
    plan = ShotPlan.from_frames([7, 20], num_frames=33, fps=Fraction(8))
    scene = sample_scene(1, plan=plan)
    assert scene.plan is plan
    assert len(render(scene)) == 33
    assert set(np.argsort(jumps(render(scene)))[-2:] + 1) == {7, 20}


@every_world
def test_captions_say_the_truth_and_nothing_but_the_vocabulary(world: str) -> None:
    known = set(vocabulary(world))
    for seed in range(50):
        scene = sample_scene(seed, world=world)
        exact = scene.caption("exact")
        if len(scene.views) > 1:
            assert ShotPlan.from_prompt(exact, fps=16).num_shots == len(scene.views)
            assert f"[0.0s, {float(scene.plan.cuts_s[0]):.1f}s]" in exact
        for text in (exact, scene.caption("random"), scene.general_caption(), *scene.shot_captions()):
            for sign in ",;:[].0123456789":
                text = text.replace(sign, f" {sign} ")
            assert set(text.split()) <= known


def test_random_times_do_not_give_the_cut_away() -> None:
    scenes = [sample_scene(seed, num_shots=2) for seed in range(300)]
    true = [float(scene.plan.cuts_s[0]) for scene in scenes]
    said = [ShotPlan.from_prompt(scene.caption("random"), fps=16).cuts_s[0] for scene in scenes]
    assert abs(np.corrcoef(true, [float(cut) for cut in said])[0, 1]) < 0.15


@every_world
def test_subject_keeps_its_colour_across_shots(world: str) -> None:
    scene = sample_scene(2, num_shots=3, world=world)
    from attnscope.dataset.drawing import painting

    colour = np.array(painting.COLOURS[scene.subject.colour]) * 255
    frames = render(scene)
    for shot in scene.plan.shots:
        distance = np.abs(frames[shot.start].astype(float) - colour).max(axis=-1)
        assert (distance < 40).sum() > 20


def test_too_many_shots_is_one_line() -> None:
    with pytest.raises(
        ShotPlanError, match="expected at least 2 latent frames for each shot, got 5 .* fewer shots"
    ):
        sample_scene(0, num_shots=4, num_frames=17)


def test_a_plain_subject_fills_a_quarter_of_a_medium_shot() -> None:
    for seed in range(60):
        scene = sample_scene(seed, num_shots=1, num_frames=5, world="plain")
        view = scene.views[0]
        colours = {*view.colours, scene.subject.colour}
        if view.framing != "medium" or abs(view.start[0]) > 0.3 or "white" in colours:
            continue
        # the outline is the only thing darker than every colour of this world but white
        columns = np.flatnonzero((render(scene)[0].max(axis=-1) < 40).any(axis=0))
        assert np.ptp(columns) + 1 >= 64 / 4, scene.caption()


def test_a_cut_within_a_plain_place_leaves_the_place_as_it_is() -> None:
    kept = 0
    for seed in range(200):
        first, second = sample_scene(seed, num_shots=2, keep_place=1.0, world="plain").views
        assert (first.texture, first.colours, first.phase) == (second.texture, second.colours, second.phase)
        assert first.framing != second.framing
        kept += first.start != second.start
    assert kept == 200


def test_an_unknown_world_is_one_line() -> None:
    with pytest.raises(
        InputError, match=r"expected a world \(textured, plain\), got 'flat' .* give one of them"
    ):
        sample_scene(0, world="flat")
