"""A film can be kept and shown: as a file, and as pictures side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from attnscope.errors import InputError, VideoError
from attnscope.intervening.cut_check import CutCheck
from attnscope.intervening.film import Film
from attnscope.shots import ShotPlan
from attnscope.video.files import read_frames


@pytest.fixture
def film() -> Film:
    """9 frames of 32 x 64, dark before frame 5 and bright from it on."""
    frames = np.zeros((9, 32, 64, 3), np.uint8)
    frames[5:] = 200
    plan = ShotPlan.from_frames([5], num_frames=9, fps=8).to_latent()
    return Film(frames, plan, (1,), 0.5, CutCheck((5,), (5,)))


def test_a_film_is_saved_frame_by_frame(film: Film, tmp_path: Path) -> None:
    read = read_frames(film.save(tmp_path / "film.mp4"))
    assert read.shape == film.frames.shape
    assert np.abs(read.astype(int) - film.frames).max() <= 4


@pytest.mark.parametrize("name", ["film.gif", "nowhere/film.mp4", "film"])
def test_a_place_that_cannot_be_is_refused(film: Film, tmp_path: Path, name: str) -> None:
    with pytest.raises(VideoError, match="to save a film in"):
        film.save(tmp_path / name)


def test_a_strip_shows_pictures_evenly_with_a_wide_gap_at_the_cut(film: Film) -> None:
    strip = np.asarray(film.strip(3))  # frames 0, 4 and 8: one narrow gap of 2 pixels, one wide of 16
    assert strip.shape == (32, 3 * 64 + 2 + 16, 3)
    assert [int(strip[0, x, 0]) for x in (63, 64, 66, 130, 145, 146)] == [0, 255, 0, 255, 255, 200]
    assert np.asarray(film.strip(100)).shape[1] == 9 * 64 + 7 * 2 + 16
    with pytest.raises(InputError, match="a number of pictures from 1"):
        film.strip(0)
