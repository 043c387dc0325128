"""One reader for files: every container, the stream that a player takes, and damage that does not pass in silence."""

from __future__ import annotations

import gc
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from attnscope.errors import VideoError
from attnscope.video import read_frames, read_video
from attnscope.video.decoding import VideoFile
from attnscope.video.names import VIDEO_ENDINGS, escape_name, is_video_name
from attnscope.video.streams import FileVideo

FAST = {"deadline": "realtime", "cpu-used": "8"}


def jump(frames: np.ndarray) -> int:
    """The first frame after the greatest change."""
    return int(np.abs(np.diff(frames.astype(int), axis=0)).mean(axis=(1, 2, 3)).argmax()) + 1


@pytest.mark.parametrize(
    ("name", "fps", "more"),
    [
        ("a.mp4", 24, {}),
        ("a.mov", 24, {"codec": "prores", "pixels": "yuv422p10le"}),
        ("a.mkv", 24, {}),
        ("b.mkv", Fraction(24000, 1001), {"codec": "ffv1"}),
        ("a.webm", 30, {"codec": "libvpx", **FAST}),
        ("b.webm", 24, {"codec": "libvpx-vp9", **FAST}),
        ("a.avi", 24, {"bf": "2", "preset": "fast"}),
        ("b.avi", 16, {"codec": "mpeg4"}),
        ("a.ts", 24, {}),
        ("a.m2ts", 25, {"container": "mpegts"}),
        ("a.flv", 24, {}),
        ("a.wmv", 24, {"codec": "wmv2"}),
        ("a.mpg", 25, {"codec": "mpeg2video"}),
        ("a.nut", 24, {}),
        ("a.y4m", 24, {"codec": "wrapped_avframe"}),
        ("a.ivf", 24, {"codec": "libvpx", **FAST}),
        ("a.mxf", 25, {"codec": "mpeg2video"}),
        ("a.h264", 30, {"container": "h264"}),
        ("a.m2v", 30, {"codec": "mpeg2video", "container": "mpeg2video"}),
        ("a.gif", 10, {"codec": "gif", "pixels": "rgb8"}),
        ("b.gif", 16, {"codec": "gif", "pixels": "rgb8"}),
        ("c.gif", 24, {"codec": "gif", "pixels": "rgb8"}),
    ],
)
def test_every_container_gives_the_same_film(
    tmp_path: Path, name: str, fps: Fraction | int, more: dict[str, Any], tiles: Any, write_film: Any
) -> None:
    path = write_film(tmp_path / name, tiles([23, 22]), fps=fps, **more)
    video, frames = FileVideo(path), read_frames(path)
    assert (len(list(video)), video.num_frames, len(frames)) == (45, 45, 45)
    assert (video.fps, jump(frames)) == (fps, 23)
    taken = read_video(path, height=48, width=64)
    assert (taken.source_fps, taken.num_source_frames, taken.at(23), jump(taken.frames)) == (fps, 45, 23, 23)
    assert is_video_name(path)


@pytest.mark.parametrize(
    ("declared", "fps", "codec", "name"),
    [
        (24, Fraction(24000, 1001), "libx264", "a.mkv"),
        (30, Fraction(30000, 1001), "mpeg4", "a.mkv"),
        (1000, Fraction(24), "libx264", "a.mkv"),
    ],
)
def test_a_wrong_header_is_not_believed(
    tmp_path: Path, declared: int, fps: Fraction, codec: str, name: str, tiles: Any, write_film: Any
) -> None:
    film = np.repeat(tiles([1], 32, 32), 1600, axis=0)
    stamps = [round(1000 * k / fps) for k in range(1600)]
    path = write_film(tmp_path / name, film, fps=declared, stamps=stamps, base=Fraction(1, 1000), codec=codec)
    file = VideoFile(path)
    assert sum(1 for _ in file) == 1600
    assert file.fps == fps


@pytest.mark.parametrize(
    ("name", "share", "more"),
    [
        ("a.mkv", 0.7, {}),
        ("a.webm", 0.7, {"codec": "libvpx", **FAST}),
        ("a.flv", 0.6, {}),
        ("a.avi", 0.6, {"codec": "mpeg4"}),
        ("a.nut", 0.6, {}),
        ("a.mov", 0.9, {}),
    ],
)
@pytest.mark.parametrize("with_sound", [False, True])
def test_a_file_that_is_cut_short_is_refused(
    tmp_path: Path, name: str, share: float, more: dict[str, Any], with_sound: bool, write_film: Any
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 48, 64, 3), np.uint8)
    path = write_film(tmp_path / name, noise, **more)
    assert len(read_frames(path)) == 60
    if with_sound:
        path = add_sound(path, tmp_path / f"sound{path.suffix}", seconds=2.5)
        assert len(read_frames(path)) == 60
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    for read in (
        read_frames,
        lambda path: list(FileVideo(path)),
        lambda path: read_video(path, height=32, width=32),
    ):
        with pytest.raises(VideoError, match="it is cut short|can be decoded|decoder calls damaged"):
            read(path)


def add_sound(film: Path, path: Path, *, seconds: float) -> Path:
    """The film with a sound beside it."""
    with av.open(str(film)) as source, av.open(str(path), "w") as out:
        picture = out.add_stream_from_template(source.streams.video[0])
        sound = out.add_stream(
            "libmp3lame"
            if path.suffix in (".avi", ".flv")
            else "ac3"
            if path.suffix != ".webm"
            else "libopus",
            rate=48000,
        )
        sound.layout = "mono"
        packets = [packet for packet in source.demux(video=0) if packet.dts is not None]
        size = sound.codec_context.frame_size or 960
        heard = []
        for start in range(0, int(48000 * seconds), size):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, size), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
            heard += sound.encode(frame)
        heard += sound.encode(None)
        for packet in packets:
            packet.stream = picture
        for packet in sorted([*packets, *heard], key=lambda each: float(each.dts * each.time_base)):
            out.mux(packet)
    return path


def test_sound_that_goes_on_is_no_missing_picture(tmp_path: Path, tiles: Any, write_film: Any) -> None:
    film = write_film(tmp_path / "a.mkv", tiles([30]))
    assert len(read_frames(add_sound(film, tmp_path / "b.mkv", seconds=5))) == 30


def test_a_film_that_is_damaged_in_the_middle_is_refused(tmp_path: Path, tiles: Any, write_film: Any) -> None:
    path = write_film(tmp_path / "a.mp4", tiles([30, 26, 34], 96, 128), g="12")
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + len(content) // 3
    content[start : start + 300] = np.random.default_rng(0).integers(0, 256, 300, np.uint8).tobytes()
    path.write_bytes(content)
    for read in (
        read_frames,
        lambda path: list(FileVideo(path)),
        lambda path: read_video(path, height=32, width=32),
    ):
        with pytest.raises(VideoError, match="which the decoder calls damaged|can be decoded"):
            read(path)


def test_the_stream_that_a_player_takes(tmp_path: Path, tiles: Any) -> None:
    """A small preview in front, the film behind it marked as the default."""
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as box:
        streams = []
        for frames, default in ((tiles([10], 32, 32), False), (tiles([10], 96, 128), True)):
            stream = box.add_stream("libx264", rate=24, options={"preset": "ultrafast"})
            stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
            stream.disposition = av.stream.Disposition.default if default else av.stream.Disposition(0)
            streams.append((stream, frames))
        for k in range(10):
            for stream, frames in streams:
                box.mux(
                    stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frames[k]), format="rgb24"))
                )
        for stream, _ in streams:
            box.mux(stream.encode(None))
    assert FileVideo(path).size == (96, 128)
    assert read_frames(path).shape == (10, 96, 128, 3)


def with_cover(path: Path, frames: np.ndarray | None) -> Path:
    """A cover picture, and a film behind it where there is one."""
    with av.open(str(path), "w") as box:
        cover = box.add_stream("mjpeg", rate=1)
        cover.height = cover.width = 400
        cover.pix_fmt = "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        streams = [(cover, np.zeros((1, 400, 400, 3), np.uint8))]
        if frames is not None:
            film = box.add_stream("libx264", rate=24, options={"preset": "ultrafast"})
            film.height, film.width, film.pix_fmt = *frames.shape[1:3], "yuv420p"
            streams.append((film, frames))
        for stream, pictures in streams:
            for picture in pictures:
                box.mux(
                    stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24"))
                )
            box.mux(stream.encode(None))
    return path


def test_a_cover_is_no_film(tmp_path: Path, tiles: Any) -> None:
    assert read_frames(with_cover(tmp_path / "film.mp4", tiles([12]))).shape == (12, 48, 64, 3)
    with pytest.raises(VideoError, match="no video stream"):
        VideoFile(with_cover(tmp_path / "song.mp4", None))


@pytest.mark.parametrize(
    "name", ["http:clip.mp4", "concat:a|b.mp4", "a %03d.mp4", "caf\udce9.mp4", "\n.mp4", "-.mp4"]
)
def test_a_name_is_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, tiles: Any, write_film: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    write_film(tmp_path / "film.mp4", tiles([12])).rename(name)
    assert len(read_frames(name)) == 12
    Path(name).write_bytes(b"no film")
    with pytest.raises(VideoError) as caught:
        read_frames(name)
    assert escape_name(name) in str(caught.value)
    assert "\n" not in str(caught.value)
    str(caught.value).encode()


def test_a_list_of_files_is_no_film(tmp_path: Path, tiles: Any, write_film: Any) -> None:
    """A text that names other files, called a film, is not followed."""
    film = write_film(tmp_path / "film.ts", tiles([12]))
    playlist = tmp_path / "list.mp4"
    for text in (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{film}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile '{film}'\n",
    ):
        playlist.write_text(text)
        with pytest.raises(VideoError):
            read_frames(playlist)


def test_endings_are_those_of_films() -> None:
    assert {
        ".mp4",
        ".mkv",
        ".ts",
        ".mts",
        ".mpg",
        ".wmv",
        ".flv",
        ".ogv",
        ".3gp",
        ".y4m",
        ".h264",
    } <= VIDEO_ENDINGS
    assert not {".txt", ".srt", ".png", ".jpg", ".mp3", ".wav", ".m3u8", ".csv", ".json"} & VIDEO_ENDINGS
    assert not is_video_name("mp4")


def test_a_name_can_be_printed_and_stays_another_name() -> None:
    names = [b"caf\xe9.mp4", b"caf\xe8.mp4", "café.mp4".encode(), "\U0001f3ac.mp4".encode(), b"a\x1b[31m.mp4"]
    shown = [escape_name(name.decode("utf-8", "surrogateescape")) for name in names]
    assert len(set(shown)) == len(names)
    assert shown[2:4] == ["café.mp4", "\U0001f3ac.mp4"]
    assert "\x1b" not in "".join(shown)


def test_no_picture_outlives_its_film(tmp_path: Path, tiles: Any, write_film: Any) -> None:
    """A picture that is held by what lies beside it keeps the memory of a clip: a batch of films would grow by each."""
    path = write_film(tmp_path / "a.mp4", tiles([12]), prepare=lambda stream: stream.set_display_rotation(90))
    gc.collect()
    gc.disable()
    try:
        video = FileVideo(path)
        assert len(list(video)) == 12
        del video
        assert not [each for each in gc.get_objects() if type(each) is av.VideoFrame]
    finally:
        gc.enable()
