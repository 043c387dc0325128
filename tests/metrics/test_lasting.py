"""What only looks like a cut is none, whichever detector saw it; black between two shots is one."""

from __future__ import annotations

import numpy as np
import pytest

from attnscope.dataset import render, sample_scene
from attnscope.metrics import detect_cuts
from attnscope.metrics.detection.lasting import keep_lasting
from attnscope.metrics.detection.transition import Transition
from attnscope.metrics.detection.watching import ThumbnailKeeper
from attnscope.shots import ShotPlan
from attnscope.video.streams import ArrayVideo

RNG = np.random.default_rng(0)
A, B, C = RNG.integers(0, 256, (3, 9, 16, 3)).astype(float)
BLACK, WHITE = np.zeros((9, 16, 3)), np.full((9, 16, 3), 255.0)


def film(*parts: tuple[np.ndarray, int]) -> np.ndarray:
    """Pictures held for so many frames, with the grain of a film."""
    frames = np.concatenate([np.repeat(picture[None], num, axis=0) for picture, num in parts])
    return np.clip(frames + np.random.default_rng(1).normal(size=frames.shape), 0, 255).astype(np.uint8)


def fade(start: np.ndarray, stop: np.ndarray, num: int) -> list[tuple[np.ndarray, int]]:
    return [((1 - share) * start + share * stop, 1) for share in np.linspace(0, 1, num + 2)[1:-1]]


def cut(frame: int, probability: float | None = 0.9, votes: int | None = None) -> Transition:
    return Transition(frame, frame, frame, "cut", probability, votes)


def kept(frames: np.ndarray, *places: int, shortest: float = 4) -> list[int]:
    return [each.cut_frame for each in keep_lasting([cut(place) for place in places], frames, shortest)]


@pytest.mark.parametrize("light", [WHITE, BLACK, 0.5 * A + 128, C])
@pytest.mark.parametrize("num", [1, 2, 4])
def test_a_flash_is_none_and_leaves_the_cut_beside_it(light: np.ndarray, num: int) -> None:
    frames = film((A, 12), (light, num), (A, 12), (B, 20))
    assert kept(frames, 12, 12 + num, 24 + num) == [24 + num]
    assert kept(frames, 12, 24 + num) == kept(frames, 12 + num, 24 + num) == [24 + num]


def test_a_short_shot_that_is_long_enough_is_one() -> None:
    assert kept(film((A, 12), (B, 6), (A, 12)), 12, 18) == [12, 18]
    assert kept(film((A, 12), (B, 6), (A, 12)), 12, 18, shortest=6) == []
    assert kept(film((A, 12), (B, 3), (C, 12)), 12, 15) == [12, 15], (
        "which of them stays is decided elsewhere"
    )


@pytest.mark.parametrize("colour", [BLACK, WHITE])
@pytest.mark.parametrize("held", [0, 1, 20])
def test_a_fade_at_an_end_is_none(colour: np.ndarray, held: int) -> None:
    frames = film((colour, held), *fade(colour, A, 10), (A, 20), (B, 20))
    real = held + 30
    everywhere = range(1, held + 12)
    for place in everywhere:
        assert kept(frames, place, real) == [real]
        assert kept(frames[::-1], len(frames) - place, len(frames) - real) == [len(frames) - real]
    assert kept(frames, *everywhere, real) == [real]


@pytest.mark.parametrize("held", [1, 5, 40])
def test_black_at_an_end_without_a_fade_is_none(held: int) -> None:
    assert kept(film((BLACK, held), (A, 20), (B, 20)), held, held + 20) == [held + 20]
    assert kept(film((A, 20), (B, 20), (BLACK, held)), 20, 40) == [20]


@pytest.mark.parametrize("colour", [BLACK, WHITE])
@pytest.mark.parametrize(("out", "held", "back"), [(8, 0, 8), (8, 5, 8), (12, 1, 0), (0, 2, 12), (0, 30, 0)])
def test_black_between_two_shots_is_one_cut(colour: np.ndarray, out: int, held: int, back: int) -> None:
    frames = film((A, 20), *fade(A, colour, out), (colour, held), *fade(colour, B, back), (B, 20))
    start, stop = 20, 20 + out + held + back
    for places in ((), (start + 1,), (stop - 1,), (start + 1, stop - 1)):
        found = [cut(place, 0.5, 1) for place in places]
        if not places and not held:
            assert keep_lasting(found, frames, 4) == [], "never black, and nobody saw it: nothing is invented"
            continue
        (one,) = keep_lasting(found, frames, 4)
        assert start + out <= one.cut_frame <= start + out + held + 1
        if one.kind == "dissolve":
            assert (abs(one.start_frame - start) <= 1, abs(one.stop_frame - stop) <= 1) == (True, True)
        assert one.probability == (0.5 if places else None)
        assert one.num_votes == (1 if places else None)
    assert kept(film((A, 20), *fade(A, colour, out), (colour, held), *fade(colour, A, back), (A, 20))) == []


def test_a_dark_shot_is_a_shot() -> None:
    night = 0.08 * C
    assert kept(film((A, 20), (night, 15), (B, 20)), 20, 35) == [20, 35]
    assert kept(film((A, 20), (night, 15)), 20) == [20]
    assert kept(film((night, 15), (A, 20)), 15) == [15]


def test_a_film_by_night_grows_darker_without_a_cut() -> None:
    """Light comes and goes on a stage; nobody sees a cut, and none is invented."""
    night = np.stack([0.1 * A * level + 0.1 * C * (1 - level) for level in np.linspace(0, 1, 60)])
    stage = night * (0.55 + 0.45 * np.cos(np.arange(60) / 4))[:, None, None, None]
    assert kept(np.clip(stage, 0, 255).round().astype(np.uint8)) == []


def test_walls_and_flat_films_are_shots() -> None:
    wall = np.full((9, 16, 3), (120.0, 60.0, 60.0))
    assert kept(film((A, 20), (wall, 20), (B, 20)), 20, 40) == [20, 40]
    assert kept(film((BLACK, 20), (WHITE, 20)), 20) == [20]
    assert kept(film((BLACK, 20), (wall, 20), (WHITE, 20)), 20, 40) == [20, 40]


def test_what_no_pixel_shows_is_none() -> None:
    assert kept(film((A, 40)), 20) == []
    assert keep_lasting([], np.zeros((0, 9, 16, 3), np.uint8), 4) == []


@pytest.mark.parametrize("detector", ["content", "adaptive", "vote"])
def test_black_and_white_films_are_cut_where_they_are(detector: str) -> None:
    plan = ShotPlan.from_frames([13], num_frames=33, fps=16)
    frames = (
        render(sample_scene(20, plan=plan, keep_place=0.0, world="textured"))
        .mean(-1, keepdims=True)
        .repeat(3, -1)
    )
    frames = (0.5 * frames + 60).astype(np.uint8)  # of little contrast
    assert detect_cuts(frames, 16, detector=detector).cuts_frame == (13,)  # type: ignore[arg-type]


@pytest.mark.parametrize("detector", ["content", "adaptive"])
def test_a_film_that_is_partly_without_colour(detector: str) -> None:
    plan = ShotPlan.from_frames([13], num_frames=33, fps=16)
    coloured = render(sample_scene(20, plan=plan, keep_place=0.0, world="textured"))
    grey = coloured[::-1].mean(-1, keepdims=True).repeat(3, -1).astype(np.uint8)
    found = detect_cuts(np.concatenate([coloured, grey]), 16, detector=detector)  # type: ignore[arg-type]
    assert found.cuts_frame == (13, 33, 53)


def test_thumbnails_are_kept_without_a_network() -> None:
    frames = np.repeat(np.arange(0, 250, 10, dtype=np.uint8), 1)[:, None, None, None] * np.ones(
        (1, 54, 96, 3), np.uint8
    )
    keeper = ThumbnailKeeper()
    for picture in ArrayVideo(frames, 16):
        keeper.process(picture)
    assert keeper.finish().shape == (25, 9, 16, 3)
    np.testing.assert_array_equal(keeper.finish()[:, 0, 0, 0], frames[:, 0, 0, 0])
