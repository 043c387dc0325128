"""The detector for films of small models: cuts that are smeared over a latent frame are found, fast cameras are not."""

from __future__ import annotations

import numpy as np
import pytest

from attnscope.dataset import render, sample_scene
from attnscope.errors import InputError
from attnscope.metrics import detect_cuts


def span_cuts(film: np.ndarray) -> tuple[int, ...]:
    return detect_cuts(film.astype(np.uint8), 16, detector="span", shortest_shot_s=0).cuts_frame


def smeared(cut: int, num_frames: int = 33, size: int = 8) -> np.ndarray:
    film = np.zeros((num_frames, size, size, 3))
    film[cut:] = 255
    for frame, share in enumerate((0.4, 0.7, 0.9), start=cut):
        film[frame] = 255 * share
    return film


@pytest.mark.parametrize("num_shots", [1, 2, 3, 4])
def test_cuts_of_drawn_films_are_found_to_the_frame(num_shots: int) -> None:
    exact = 0
    for seed in range(40_000_000, 40_000_020):
        scene = sample_scene(seed, num_shots=num_shots, num_frames=49)
        exact += span_cuts(render(scene)) == scene.plan.cuts_frame
    assert exact >= 18


@pytest.mark.parametrize("cut", [1, 5, 13, 29])
def test_a_cut_that_is_smeared_over_a_latent_frame_begins_where_it_begins(cut: int) -> None:
    assert span_cuts(smeared(cut)) == (cut,)


def test_neighbours_alone_do_not_see_a_smeared_cut() -> None:
    """The reason for this detector: no frame differs much from the one before it."""
    film = np.full((33, 32, 32, 3), 60.0)
    for frame in range(13, 33):
        film[frame] += 12 * min(frame - 12, 4)
    assert detect_cuts(film.astype(np.uint8), 16, detector="content").cuts_frame == ()
    assert span_cuts(film) == (13,)


def test_large_pictures_are_looked_at_small() -> None:
    assert span_cuts(smeared(13, size=200)) == (13,)


def test_a_fast_camera_is_no_cut() -> None:
    """Change over a latent frame as large as that of a cut, but all along."""
    ramp = (np.arange(64) * 2) % 64
    assert (
        span_cuts(
            np.stack(
                [np.roll(ramp, 6 * frame)[None, :, None].repeat(64, 0).repeat(3, 2) for frame in range(49)]
            )
        )
        == ()
    )


def test_a_still_and_a_very_short_film_have_no_cut() -> None:
    assert span_cuts(np.full((17, 8, 8, 3), 90)) == ()
    assert span_cuts(np.zeros((2, 8, 8, 3))) == ()


def test_a_shot_of_one_frame_is_believed_only_where_that_is_asked_for() -> None:
    film = smeared(1).astype(np.uint8)
    assert detect_cuts(film, 16, detector="span").cuts_frame == ()
    assert detect_cuts(film, 16, detector="span", shortest_shot_s=0).cuts_frame == (1,)


def test_films_without_latent_frames_are_compared_frame_by_frame() -> None:
    """At 8 frames a second a subject moves twice as far from frame to frame, and shots of three frames are shots."""
    exact = {1: 0, 4: 0}
    for seed in range(20):
        clock = {"num_frames": 16, "fps": 8, "stride": 1, "min_shot_latent_frames": 3}
        scene = sample_scene(seed, num_shots=3, keep_place=0.0, **clock)
        for stride in exact:
            found = detect_cuts(render(scene), 8, detector="span", shortest_shot_s=0, stride=stride)
            exact[stride] += found.cuts_frame == scene.plan.cuts_frame
    assert exact[1] == 20
    assert exact[4] < 16
    with pytest.raises(InputError, match="expected a stride of at least 1, got 0 in detect_cuts"):
        detect_cuts(render(scene), 8, detector="span", stride=0)
