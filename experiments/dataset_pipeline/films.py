"""The films that the pipeline is measured on: drawn ones whose cuts, dissolves and fades are known, and broken ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attnscope.dataset import render, sample_scene
from attnscope.video import write_video

HEIGHT, WIDTH, FPS, NUM_FRAMES = 96, 160, 16, 161


@dataclass(frozen=True)
class Truth:
    """What was drawn: for each transition the frames that show both shots or black; a hard cut has none."""

    kind: str
    transitions: tuple[tuple[int, int], ...]
    blank: tuple[tuple[int, int], ...] = ()

    @property
    def mixed(self) -> set[int]:
        """Every frame that belongs to no shot."""
        spans = [*self.transitions, *self.blank]
        return {frame for start, stop in spans for frame in range(start, stop)}


def draw_films(folder: Path, count: int, first_seed: int) -> dict[str, Truth]:
    """Draw films of three shots: cuts, dissolves of 6 and 12 frames, fades through black, and black at both ends."""
    kinds = ("cut", "dissolve 6", "cut", "dissolve 12", "fade 10", "cut", "ends 8", "fade 16")
    truth = {}
    for index in range(count):
        kind, seed = kinds[index % len(kinds)], first_seed + index
        name = f"drawn-{seed}.mp4"
        frames, truth[name] = _draw(kind, seed)
        write_video(folder / name, frames, FPS)
    return truth


def _draw(kind: str, seed: int) -> tuple[np.ndarray, Truth]:
    word, _, number = kind.partition(" ")
    length = int(number or 0)
    scene = sample_scene(
        seed,
        num_shots=3,
        num_frames=NUM_FRAMES,
        fps=FPS,
        min_shot_latent_frames=12,  # so that two fades leave something between them
        dissolve_frames=length if word == "dissolve" else 0,
    )
    frames, cuts = render(scene, height=HEIGHT, width=WIDTH), scene.plan.cuts_frame
    if word == "fade":
        for cut in cuts:
            _fade(frames, cut - length, cut, down=True)
            _fade(frames, cut, cut + length, down=False)
        return frames, Truth(kind, tuple((cut - length, cut + length) for cut in cuts))
    if word == "ends":
        _fade(frames, 0, length, down=False)
        _fade(frames, NUM_FRAMES - length, NUM_FRAMES, down=True)
        return frames, Truth(
            kind, tuple((cut, cut) for cut in cuts), ((0, length), (NUM_FRAMES - length, NUM_FRAMES))
        )
    return frames, Truth(kind, tuple((cut, cut + length) for cut in cuts))


def _fade(frames: np.ndarray, start: int, stop: int, *, down: bool) -> None:
    """Take the light away, or bring it, evenly; its darkest frame is black."""
    light = np.arange(stop - start)[:: -1 if down else 1] / (stop - start)
    frames[start:stop] = np.round(frames[start:stop] * light[:, None, None, None]).astype(np.uint8)


def break_films(folder: Path, whole: Path, count: int) -> list[str]:
    """Write files that look like films by their names and are none, or damaged ones."""
    content, rng = whole.read_bytes(), np.random.default_rng(0)
    names = []
    for index in range(count):
        kind = index % 5
        data = content
        if kind == 0:
            data = b""
        elif kind == 1:
            data = b"this is no film\n" * (1 + index)
        elif kind == 2:
            data = content[: len(content) // 3 + 97 * index]
        elif kind == 3:
            data = rng.bytes(4000 + index)
        else:
            head = len(content) // 4
            data = content[:head] + rng.bytes(len(content) // 2) + content[head + len(content) // 2 :]
        name = f"broken-{index:02d}.mp4"
        (folder / name).write_bytes(data)
        names.append(name)
    return names
