"""Video files: the frames that come out are the ones that went in, and cuts stay where they were."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from attnscope.dataset import render, sample_scene
from attnscope.errors import VideoError
from attnscope.video.files import Footage, fps_of, read_frames, read_video, write_video

CLIPS = Path(__file__).parents[3] / "shared" / "videos"
SIZE = {"height": 64, "width": 64}


def counted(num_frames: int) -> np.ndarray:
    """A film whose frame k has the grey value 8 k, so that every frame says which one it is."""
    grey = np.arange(num_frames, dtype=np.uint8) * 8
    return np.broadcast_to(grey[:, None, None, None], (num_frames, 64, 64, 3)).copy()


def numbers(frames: np.ndarray) -> list[int]:
    return [round(float(frame.mean()) / 8) for frame in frames]


def jumps(frames: np.ndarray) -> np.ndarray:
    return np.abs(np.diff(frames.astype(np.int16), axis=0)).mean(axis=(1, 2, 3))


@pytest.fixture(scope="module")
def ramp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 counted frames at 30 fps."""
    return write_video(tmp_path_factory.mktemp("ramp") / "ramp.mp4", counted(30), 30)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_cut_comes_back_at_its_frame(tmp_path: Path, seed: int) -> None:
    scene = sample_scene(seed, num_shots=2, num_frames=33, keep_place=0.0)
    film = render(scene)
    footage = read_video(write_video(tmp_path / "film.mp4", film, 16), **SIZE)
    (cut,) = scene.plan.cuts_frame
    assert footage.frames.shape == film.shape
    assert footage.frames.dtype == np.uint8
    assert (footage.fps, footage.source_fps, footage.num_source_frames) == (16, 16, 33)
    assert int(np.argmax(jumps(footage.frames))) + 1 == cut == footage.at(cut)
    difference = np.abs(footage.frames.astype(np.int16) - film)
    assert difference.mean() < 8, "H.264 loses some colour, not the picture"


def test_every_frame_is_the_one_it_says(ramp: Path) -> None:
    footage = read_video(ramp, **SIZE)
    assert footage.num_source_frames == 30
    assert footage.source_frame == tuple(range(29)), "4n + 1 frames, the last one left out"
    assert numbers(footage.frames) == list(range(29))


@pytest.mark.parametrize("fps", [10, 12, 15, 16, 24, Fraction(30000, 1001)])
def test_a_lower_rate_picks_the_nearest_frames_that_exist(ramp: Path, fps: Fraction | int) -> None:
    footage = read_video(ramp, fps=fps, **SIZE)
    assert len(footage.frames) % 4 == 1
    assert numbers(footage.frames) == list(footage.source_frame)
    for tick, frame in enumerate(footage.source_frame):
        assert abs(Fraction(frame, 30) - Fraction(tick) / Fraction(fps)) <= Fraction(1, 60)
    assert abs(float(footage.fps) - float(fps)) / float(fps) < 0.1


def test_a_higher_rate_invents_nothing(ramp: Path) -> None:
    footage = read_video(ramp, fps=60, **SIZE)
    assert (footage.fps, footage.source_frame) == (30, tuple(range(29)))


@pytest.mark.parametrize(("most", "expected"), [(9, 9), (12, 9), (5, 5), (29, 29), (1000, 29)])
def test_too_many_frames_are_thinned_evenly(ramp: Path, most: int, expected: int) -> None:
    footage = read_video(ramp, max_frames=most, **SIZE)
    assert len(footage.frames) == expected
    gaps = np.diff(footage.source_frame)
    assert gaps.max() - gaps.min() <= 1
    assert numbers(footage.frames) == list(footage.source_frame)
    span = footage.source_frame[-1] - footage.source_frame[0]
    assert footage.fps == Fraction(30 * (expected - 1), span), "the film is as long as before"


def test_at_is_the_first_frame_taken_at_or_after() -> None:
    taken = (0, 3, 6, 9, 12)
    footage = Footage(np.zeros((5, 1, 1, 3), np.uint8), Fraction(10), taken, Fraction(30), 13)
    for source in range(13):
        assert footage.at(source) == min(k for k, frame in enumerate(taken) if frame >= source)


def quarters(tmp_path: Path) -> Path:
    """A picture of 64 x 128 whose quarters are red, green (top), blue, white (bottom)."""
    frame = np.zeros((64, 128, 3), np.uint8)
    frame[:32, :64, 0] = frame[:32, 64:, 1] = frame[32:, :64, 2] = 255
    frame[32:, 64:] = 255
    return write_video(tmp_path / "quarters.mp4", np.stack([frame] * 5), 8)


@pytest.mark.parametrize(
    ("crop", "colour"),
    [
        ((0, 0.5, 0.5, 0), (255, 0, 0)),
        ((0, 0, 0.5, 0.5), (0, 255, 0)),
        ((0.5, 0.5, 0, 0), (0, 0, 255)),
        ((0.5, 0, 0, 0.5), (255, 255, 255)),
    ],
)
def test_crop_is_top_right_bottom_left(tmp_path: Path, crop: Any, colour: tuple[int, ...]) -> None:
    footage = read_video(quarters(tmp_path), height=16, width=32, crop=crop)
    inner = footage.frames[:, 2:-2, 2:-2].reshape(-1, 3).astype(int)
    assert np.abs(inner - colour).max() < 30


def test_the_middle_is_kept_when_the_shape_differs(tmp_path: Path) -> None:
    frames = read_video(quarters(tmp_path), height=64, width=64).frames.astype(int)
    assert np.abs(frames[0, 8:24, 8:24] - (255, 0, 0)).max() < 30
    assert np.abs(frames[0, 40:56, 40:56] - (255, 255, 255)).max() < 30


def test_rate_of_a_pipeline() -> None:
    class Fast:
        fps = 24

    assert (fps_of(Fast()), fps_of(object())) == (24, 16)


def varying(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height = stream.width = 64
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for time_ms, picture in zip((0, 100, 200, 900, 1000, 1100, 2000), counted(7), strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def sound_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        for _ in range(4):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def short(path: Path) -> None:
    write_video(path, counted(4), 8)


def one_frame(path: Path) -> None:
    write_video(path, counted(1), 8)


def text(path: Path) -> None:
    path.write_text("not a video\n" * 100)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def folder(path: Path) -> None:
    path.mkdir()


def missing(path: Path) -> None:
    assert not path.exists()


def without_its_end(path: Path) -> None:
    write_video(path, counted(30), 30)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def cut_short(path: Path) -> None:
    """The index, written in front, promises 60 frames; the data of most of them is missing."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 64, 64, 3), dtype=np.uint8)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=30, options={"g": "1"})
        stream.height = stream.width = 64
        stream.pix_fmt = "yuv420p"
        for picture in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 3])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (varying, "constant frame rate"),
        (sound_only, "no video stream"),
        (short, "at least 5 frames, got 4"),
        (one_frame, "at least 5 frames, got 1"),
        (text, "can be decoded"),
        (empty, "can be decoded"),
        (folder, "no file"),
        (missing, "no file"),
        (without_its_end, "can be decoded"),
        (cut_short, "video.mp4"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_no_video_is_refused_in_one_line(tmp_path: Path, make: Any, words: str) -> None:
    make(tmp_path / "video.mp4")
    with pytest.raises(VideoError, match=words) as caught:
        read_video(tmp_path / "video.mp4", **SIZE)
    assert "\n" not in str(caught.value)
    assert "video.mp4" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"height": 0}, "at least 1 pixel"),
        ({"width": -64}, "at least 1 pixel"),
        ({"fps": 0}, "positive frame rate"),
        ({"max_frames": 0}, "at least 5 frames"),
        ({"crop": (0.5, 0.0, 0.5, 0.0)}, "leave a picture"),
        ({"crop": (0.0, -0.1, 0.0, 0.0)}, "leave a picture"),
        ({"crop": (float("nan"), 0.0, 0.0, 0.0)}, "leave a picture"),
    ],
)
def test_requests_that_leave_nothing_are_refused(ramp: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(VideoError, match=words):
        read_video(ramp, **{**SIZE, **options})


@pytest.mark.skipif(not CLIPS.is_dir(), reason="the real clips are not part of the repository")
@pytest.mark.parametrize("name", ["gallery-candle.mp4", "contrast-bands.mp4", "ablation-cliff_mask.mp4"])
def test_real_clips_are_read(name: str) -> None:
    footage = read_video(CLIPS / name, height=48, width=80, fps=8, max_frames=49)
    assert footage.frames.shape[1:] == (48, 80, 3)
    assert len(footage.frames) % 4 == 1
    assert 5 <= len(footage.frames) <= 49
    assert footage.frames.std() > 5
    assert list(footage.source_frame) == sorted(set(footage.source_frame))
    assert footage.source_frame[-1] < footage.num_source_frames


def test_every_frame_is_read_and_a_file_without_any_is_one_line(tmp_path: Path) -> None:
    film = np.full((7, 16, 16, 3), 200, dtype=np.uint8)
    path = write_video(tmp_path / "film.mp4", film, 8)
    assert np.abs(read_frames(path).astype(int) - film).max() < 6
    (tmp_path / "text.mp4").write_text("no film")
    with pytest.raises(VideoError, match="expected a video that can be decoded.*re-encode it") as caught:
        read_frames(tmp_path / "text.mp4")
    assert "\n" not in str(caught.value)
