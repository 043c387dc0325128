"""Small films in many containers, written as other programs write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest


def _tiles(lengths: Sequence[int], height: int = 48, width: int = 64) -> np.ndarray:
    """Shots of these lengths, coloured tiles that drift; cuts lie at the sums of the lengths."""
    frames = []
    for seed, length in enumerate(lengths):
        colours = np.random.default_rng(seed).integers(0, 256, (height // 16 + 4, width // 16 + 4, 3))
        world = colours.repeat(16, 0).repeat(16, 1).astype(np.uint8)
        for k in range(length):
            top, left = int(12 + 10 * np.sin(k / 23)), int(12 + 10 * np.sin(k / 31))
            frames.append(world[top : top + height, left : left + width])
    return np.stack(frames)


def _write_film(
    path: Path,
    frames: np.ndarray,
    *,
    fps: Fraction | int = 24,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    stamps: Sequence[int] | None = None,
    base: Fraction | None = None,
    container: str | None = None,
    prepare: Callable[[Any], None] | None = None,
    **options: str,
) -> Path:
    """Write frames; ``stamps`` are counted in ``base`` seconds, ``prepare`` is told the stream before a frame comes."""
    if codec == "libx264":
        options = {"preset": "ultrafast", **options}
    with av.open(str(path), "w", format=container) as box:
        stream = box.add_stream(codec, rate=Fraction(fps), options=options)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], pixels
        if base is not None:
            stream.codec_context.time_base = base
        if prepare is not None:
            prepare(stream)
        for k, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            if stamps is not None:
                picture.pts, picture.time_base = int(stamps[k]), base
            box.mux(stream.encode(picture))
        box.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def tiles() -> Callable[..., np.ndarray]:
    """Draws a film: ``tiles([30, 20])`` has a cut at 30."""
    return _tiles


@pytest.fixture(scope="session")
def write_film() -> Callable[..., Path]:
    """Writes a film as other programs do."""
    return _write_film
