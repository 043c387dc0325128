"""A file is read as a player shows it: turned, with square pixels, all pictures of one size."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from attnscope.errors import VideoError
from attnscope.video import read_frames, read_video
from attnscope.video.display import NO_CROP, Display
from attnscope.video.streams import FileVideo

RED, GREEN, BLUE, WHITE = (230, 30, 30), (30, 200, 30), (30, 30, 230), (240, 240, 240)


def corners(frame: np.ndarray) -> list[tuple[int, ...]]:
    """Which of the four colours lies at top left, top right, bottom left, bottom right."""
    colours = np.array([RED, GREEN, BLUE, WHITE])
    height, width = frame.shape[:2]
    found = []
    for y, x in ((0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)):
        pixel = frame[int(y * height), int(x * width)].astype(int)
        found.append(tuple(colours[np.abs(colours - pixel).sum(axis=1).argmin()].tolist()))
    return found


def quarters(height: int = 64, width: int = 128, num: int = 6) -> np.ndarray:
    frame = np.zeros((height, width, 3), np.uint8)
    frame[: height // 2, : width // 2], frame[: height // 2, width // 2 :] = RED, GREEN
    frame[height // 2 :, : width // 2], frame[height // 2 :, width // 2 :] = BLUE, WHITE
    return np.stack([frame] * num)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_all_eight_ways_to_hold_a_camera(
    tmp_path: Path, degrees: int, mirrored: bool, write_film: Any
) -> None:
    path = write_film(
        tmp_path / "a.mp4",
        quarters(),
        prepare=lambda stream: stream.set_display_rotation(degrees, hflip=mirrored),
    )
    shown = np.rot90(quarters(num=1)[0], degrees // 90)  # both turn against the clock
    shown = shown[:, ::-1] if mirrored else shown
    video = FileVideo(path)
    assert video.size == shown.shape[:2]
    assert corners(read_frames(path)[0]) == corners(shown)
    taken = read_video(path, height=shown.shape[0], width=shown.shape[1])
    assert corners(taken.frames[0]) == corners(shown)
    (batch,) = video.batches([2], height=shown.shape[0], width=shown.shape[1])
    assert corners(batch[0]) == corners(shown)


def test_a_crop_is_taken_off_the_shown_picture(tmp_path: Path, write_film: Any) -> None:
    path = write_film(
        tmp_path / "a.mp4", quarters(), prepare=lambda stream: stream.set_display_rotation(-90)
    )  # a quarter to the right: blue comes to the top left, red to the top right
    video = FileVideo(path, crop=(0, 0, 0.5, 0.5))
    assert video.size == (64, 32)
    picture = next(iter(video)).to_ndarray(format="rgb24")[2:-2, 2:-2].astype(int)
    assert np.abs(picture - RED).max() < 40


def test_a_picture_turned_by_an_odd_angle_is_refused(tmp_path: Path, write_film: Any) -> None:
    path = write_film(tmp_path / "a.mp4", quarters(), prepare=lambda stream: stream.set_display_rotation(30))
    with pytest.raises(VideoError, match="turned by quarters"):
        FileVideo(path)


@pytest.mark.parametrize(("shape", "width"), [(Fraction(64, 45), 256), (Fraction(1, 2), 90), (None, 180)])
def test_pixels_are_made_square(
    tmp_path: Path, shape: Fraction | None, width: int, tiles: Any, write_film: Any
) -> None:
    def stretch(stream: Any) -> None:
        if shape is not None:
            stream.codec_context.sample_aspect_ratio = shape

    path = write_film(tmp_path / "dvd.mp4", tiles([6], 144, 180), prepare=stretch)
    assert FileVideo(path).size == (144, width)
    assert read_frames(path).shape == (6, 144, width, 3)


@pytest.mark.parametrize("shape", [Fraction(1000, 3), Fraction(1, 21)])
def test_pixels_that_cannot_be_are_refused(shape: Fraction) -> None:
    with pytest.raises(VideoError, match="times as wide as high.*in a.mp4"):
        Display(av.VideoFrame(64, 48), shape, crop=NO_CROP, where="in a.mp4")


def test_pictures_of_another_size_are_brought_to_the_first(tmp_path: Path, write_film: Any) -> None:
    for name, frames in (("a", quarters(64, 128, 10)), ("b", quarters(96, 96, 10))):
        write_film(tmp_path / f"{name}.h264", frames, container="h264", bf="0")
    joined = tmp_path / "call.mkv"
    with (
        av.open(str(tmp_path / "a.h264")) as one,
        av.open(str(tmp_path / "b.h264")) as two,
        av.open(str(joined), "w") as out,
    ):
        stream, tick = out.add_stream_from_template(one.streams.video[0]), 0
        for box in (one, two):
            for packet in box.demux(video=0):
                if packet.size:
                    packet.stream, packet.time_base = stream, Fraction(1, 24)
                    packet.pts = packet.dts = tick
                    packet.duration, tick = 1, tick + 1
                    out.mux(packet)
    video = FileVideo(joined)
    sizes = {(picture.height, picture.width) for picture in video}
    assert (sizes, video.size, video.num_frames, video.fps) == ({(64, 128)}, (64, 128), 20, 24)
    assert corners(read_frames(joined)[15]) == corners(quarters()[0])
    assert {(picture.height, picture.width) for picture in FileVideo(joined, crop=(0.5, 0, 0, 0))} == {
        (32, 128)
    }
