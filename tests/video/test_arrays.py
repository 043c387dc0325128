"""Frames in memory, in every form in which pipelines and libraries give them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from attnscope.errors import VideoError
from attnscope.video.arrays import as_frames, as_videos

FILM = np.random.default_rng(0).integers(0, 256, (6, 8, 12, 3), np.uint8)
SHARES = FILM / 255


@pytest.mark.parametrize(
    "video",
    [
        FILM,
        FILM[None],
        list(FILM),
        [FILM],
        FILM.astype(np.int64),
        FILM.astype(np.uint16),
        SHARES,
        SHARES.astype(np.float32),
        list(SHARES),
        [list(SHARES)],
        SHARES[None].astype(np.float64),
        torch.from_numpy(FILM),
        torch.from_numpy(SHARES).float().requires_grad_(),
        torch.from_numpy(SHARES).permute(0, 3, 1, 2),
        torch.from_numpy(SHARES).permute(0, 3, 1, 2)[None],
        [torch.from_numpy(SHARES).permute(0, 3, 1, 2)],
        [torch.from_numpy(frame).permute(2, 0, 1) for frame in SHARES],
        [Image.fromarray(frame) for frame in FILM],
        [[Image.fromarray(frame) for frame in FILM]],
        [Image.fromarray(frame).convert("RGBA") for frame in FILM],
        tuple(FILM),
        np.asfortranarray(FILM),
        SHARES + 1e-7,
    ],
)
def test_every_form_is_the_same_film(video: Any) -> None:
    found = as_frames(video)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, FILM)


def test_half_precision_is_near() -> None:
    for dtype in (torch.bfloat16, torch.float16):
        found = as_frames(torch.from_numpy(SHARES).to(dtype)).astype(int)
        assert np.abs(found - FILM).max() <= 1


@pytest.mark.parametrize(
    ("video", "words"),
    [
        (FILM[..., 0], "of shape (6, 8, 12)"),
        (FILM[:1], "at least 2 frames"),
        (SHARES * 255, "from 0.0 to 255.0"),
        (SHARES * 2 - 1, "from -1"),
        (np.where(FILM > 250, np.nan, SHARES), "nan"),
        (np.stack([FILM, FILM]), "one video at a time"),
        (FILM > 100, "got bool"),
        (FILM.astype(int) - 300, "got int64 from -300"),
        ([FILM[0], FILM[1, :4]], "pictures of one shape"),
        ([], "pictures of one shape, got none"),
        (FILM.astype(str), "got <U"),
        (FILM[:, :0], "of shape (6, 0, 12, 3)"),
        (None, "got object of shape ()"),
        ("film", "got <U4"),
        ({"frames": FILM}, "got object"),
    ],
)
def test_what_is_no_film_is_refused_in_one_line(video: Any, words: str) -> None:
    with pytest.raises(VideoError) as caught:
        as_frames(video, where="as video of score")
    assert words in str(caught.value)
    assert "as video of score" in str(caught.value)


@pytest.mark.parametrize(
    "videos",
    [
        [FILM, FILM[::-1]],
        np.stack([FILM, FILM[::-1]]),
        [list(SHARES), SHARES[::-1]],
        torch.from_numpy(np.stack([SHARES, SHARES[::-1]])).permute(0, 1, 4, 2, 3),
    ],
)
def test_several_films_are_several(videos: Any) -> None:
    first, second = as_videos(videos)
    np.testing.assert_array_equal(first, FILM)
    np.testing.assert_array_equal(second, FILM[::-1])


@pytest.mark.parametrize("video", [FILM, list(FILM), FILM[None], [FILM]])
def test_one_film_is_one(video: Any) -> None:
    (found,) = as_videos(video)
    np.testing.assert_array_equal(found, FILM)
