"""Films whose cuts are known, and files that are no films."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from attnscope.dataset import render, sample_scene
from attnscope.shots import ShotPlan
from attnscope.video.files import write_video


@pytest.fixture(scope="session")
def film() -> np.ndarray:
    """33 drawn frames, cut at frame 13."""
    plan = ShotPlan.from_frames([13], num_frames=33, fps=16)
    return render(sample_scene(20, plan=plan, keep_place=0.0, world="textured"))


@pytest.fixture(scope="session")
def broken(tmp_path_factory: pytest.TempPathFactory, film: np.ndarray) -> Path:
    """A folder with one good file and everything that is none."""
    place = tmp_path_factory.mktemp("broken")
    good = write_video(place / "good.mp4", film, 16)
    content = good.read_bytes()
    (place / "truncated.mp4").write_bytes(content[: len(content) // 2])
    (place / "empty.mp4").write_bytes(b"")
    (place / "text.mp4").write_text("not a video\n" * 50)
    write_video(place / "one.mp4", film[:1], 16)
    write_uneven(place / "uneven.mp4", film)
    with av.open(str(place / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.time_base = 16000, Fraction(1, 16000)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return place


def write_uneven(path: Path, frames: np.ndarray) -> None:
    """A file whose frame rate doubles half-way."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=16)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        stream.codec_context.time_base = Fraction(1, 32)
        for index, picture in enumerate(frames):
            coded = av.VideoFrame.from_ndarray(picture, format="rgb24")
            coded.pts, coded.time_base = 2 * index - max(0, index - len(frames) // 2), Fraction(1, 32)
            container.mux(stream.encode(coded))
        container.mux(stream.encode(None))
