"""A stretch of a film is what a whole pass gives of it, wherever it begins; a film that is written is whole."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from attnscope.errors import VideoError
from attnscope.video import read_frames
from attnscope.video.decoding import VideoFile
from attnscope.video.scaling import to_rgb
from attnscope.video.writing import VideoWriter


def write(path: Path, *, num_frames: int = 40, fps: Fraction = Fraction(24), keys: str = "12") -> Path:
    """A film of noise with a few key frames and frames that wait for later ones."""
    pictures = np.random.default_rng(0).integers(0, 256, (num_frames, 32, 48, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        codec = "libvpx" if path.suffix == ".webm" else "libx264"
        options = {"g": keys} if codec == "libvpx" else {"g": keys, "bf": "3", "crf": "20"}
        stream = container.add_stream(codec, rate=fps, options=options)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("ending", ["mp4", "mkv", "webm", "avi", "ts"])
@pytest.mark.parametrize("fps", [Fraction(24), Fraction(30000, 1001)])
def test_a_stretch_is_a_slice_of_the_film(tmp_path: Path, ending: str, fps: Fraction) -> None:
    video = VideoFile(write(tmp_path / f"film.{ending}", fps=fps))
    whole = np.stack([to_rgb(picture) for picture in video])
    assert (video.first_stamp is None) == (ending in ("avi", "ts"))
    for start, stop in [(0, 3), (1, 2), (11, 14), (12, 13), (25, 40), (39, 40)]:
        pictures = video.stretch(start, stop, fps=video.fps, first_stamp=video.first_stamp)
        np.testing.assert_array_equal(np.stack([to_rgb(each) for each in pictures]), whole[start:stop])


def test_it_begins_at_the_key_frame_before(tmp_path: Path) -> None:
    video = VideoFile(write(tmp_path / "film.mp4", num_frames=60))
    assert sum(1 for _ in video) == 60
    frames = [frame for frame, _ in video._number_pictures(37, video.fps, video.first_stamp)]
    assert 24 <= frames[0] <= 37


def test_a_stretch_behind_the_end_is_refused(tmp_path: Path) -> None:
    video = VideoFile(write(tmp_path / "film.mp4"))
    assert sum(1 for _ in video) == 40
    for stamp in (video.first_stamp, None):
        with pytest.raises(VideoError, match="none behind frame 39"):
            list(video.stretch(38, 42, fps=video.fps, first_stamp=stamp))


def test_a_film_is_written_picture_by_picture_and_with_one_thread_always_the_same(tmp_path: Path) -> None:
    pictures = np.random.default_rng(1).integers(0, 256, (9, 32, 48, 3), dtype=np.uint8)
    for name in "ab":
        with VideoWriter(tmp_path / f"{name}.mp4", Fraction(24), height=32, width=48, num_threads=1) as file:
            for picture in pictures:
                file.write(picture)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert len(read_frames(tmp_path / "a.mp4")) == 9


@pytest.mark.parametrize("colours", [("yuv420p", 1, 1), ("yuv420p", 5, 2), ("yuvj420p", 1, 2)])
def test_a_picture_is_copied_with_its_colours_as_they_are_coded(
    tmp_path: Path, colours: tuple[str, int, int]
) -> None:
    form, space, span = colours
    # smooth, so that what compression takes away is little
    ramp = np.linspace(40, 200, 48, dtype=np.uint8)
    picture = np.stack(
        [np.tile(ramp, (32, 1)), np.tile(ramp[::-1], (32, 1)), np.full((32, 48), 90, np.uint8)], 2
    )
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=form)
    frame.colorspace, frame.color_range = space, span
    with VideoWriter(tmp_path / "a.mp4", 24, height=32, width=48, options={"crf": "4"}) as file:
        for _ in range(5):
            file.copy(frame)
    written = list(VideoFile(tmp_path / "a.mp4"))
    assert len(written) == 5
    assert [int(written[0].colorspace), int(written[0].color_range)] == [space, span]
    planes = [each.to_ndarray(format=each.format.name).astype(int) for each in (frame, written[2])]
    assert np.abs(planes[0] - planes[1]).max() <= 3
