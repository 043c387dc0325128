"""Clips whose cuts are known because they are drawn: ten of each of six kinds that are easily taken for something else.

Every clip has at least one cut, so that both misses and false alarms count in each kind. Seeds below 1000 are for
choosing thresholds, those from 1000 on for reporting.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

Frames = npt.NDArray[np.uint8]

FPS = 24
HEIGHT, WIDTH = 96, 128
CHOOSING, REPORTING = 0, 1000


class Clip(NamedTuple):
    """A film and the first frame of every shot but the first; a fade may be found anywhere between its ends."""

    frames: Frames
    cuts_frame: tuple[int, ...]
    tolerance_frame: int


def shot(rng: np.random.Generator, num_frames: int) -> Frames:
    """A camera drifts over a picture: coloured tiles, soft clouds with a few sharp things, or noisy stripes."""
    look = rng.choice(["tiles", "soft", "stripes"])
    high, wide = HEIGHT + 60, WIDTH + 60
    if look == "tiles":
        world = (
            rng.integers(0, 256, (high // 16 + 1, wide // 16 + 1, 3))
            .repeat(16, 0)
            .repeat(16, 1)
            .astype(float)
        )
    elif look == "soft":
        world = np.stack([gaussian_filter(rng.normal(size=(high, wide)), 9) for _ in range(3)], -1)
        world = world / world.std() * 30 + rng.integers(40, 216, 3)
        for _ in range(6):
            y, x = rng.integers(0, high - 20), rng.integers(0, wide - 20)
            world[y : y + rng.integers(10, HEIGHT // 2), x : x + rng.integers(10, WIDTH // 2)] = rng.integers(
                0, 256, 3
            )
    else:
        phase = np.add.outer(
            np.arange(high) * rng.uniform(-0.3, 0.3), np.arange(wide) * rng.uniform(0.05, 0.3)
        )
        waves = [np.sin(phase + shift) for shift in rng.uniform(0, 6, 3)]
        world = np.stack(waves, -1) * rng.uniform(25, 70) + rng.integers(70, 186, 3)
    world = np.clip(world + rng.normal(size=world.shape) * 3, 0, 255).astype(np.uint8)
    (fast_y, fast_x), start = rng.uniform(15, 40, 2), rng.uniform(0, 6)
    places = [
        (int(20 + 14 * np.sin(k / fast_y + start)), int(20 + 18 * np.sin(k / fast_x)))
        for k in range(num_frames)
    ]
    return np.stack([world[y : y + HEIGHT, x : x + WIDTH] for y, x in places])


def blend(start: Frames, stop: Frames) -> Frames:
    """Frames of two moving pictures, or of a picture and a colour, the second growing over the first."""
    num = max(len(start), len(stop))
    share = np.linspace(0, 1, num + 2)[1:-1][:, None, None, None]
    return ((1 - share) * start + share * stop).round().astype(np.uint8)


def flash(rng: np.random.Generator) -> Clip:
    """Two shots; one or two frames of the first, or of both, are white, black, or far brighter."""
    first, second = shot(rng, 30), shot(rng, 30)
    for part in (first, second)[: rng.integers(1, 3)]:
        start, num, kind = rng.integers(9, 20), rng.integers(1, 3), rng.choice(["white", "black", "bright"])
        far_brighter = np.clip(part * 0.5 + 128, 0, 255)
        lit = {"white": np.full_like(part, 255), "black": np.zeros_like(part), "bright": far_brighter}
        part[start : start + num] = lit[kind][start : start + num]
    return Clip(np.concatenate([first, second]), (30,), 2)


def fade_in(rng: np.random.Generator) -> Clip:
    """A shot that comes out of black or white, and a cut to another."""
    first, second, num = shot(rng, 40), shot(rng, 25), int(rng.integers(5, 21))
    first[:num] = blend(colour(rng), first[:num])
    held = np.repeat(first[:0] if rng.random() < 0.5 else blank_of(first), rng.integers(1, 9), axis=0)
    return Clip(np.concatenate([held, first, second]), (len(held) + 40,), 2)


def fade_out(rng: np.random.Generator) -> Clip:
    """The same backwards: a cut, and a shot that goes into black or white."""
    clip = fade_in(rng)
    return Clip(clip.frames[::-1].copy(), (len(clip.frames) - clip.cuts_frame[0],), 2)


def fade_through(rng: np.random.Generator) -> Clip:
    """Two shots with black or white between them, of any length, into which and out of which it fades or cuts."""
    first, second, between = shot(rng, 35), shot(rng, 35), colour(rng)
    out, hold, back = int(rng.integers(0, 13)), int(rng.integers(0, 13)), int(rng.integers(0, 13))
    hold = max(hold, 3 - out - back)
    if out:
        first[-out:] = blend(first[-out:], between)
    if back:
        second[:back] = blend(between, second[:back])
    frames = np.concatenate([first, np.repeat(between, hold, axis=0), second])
    middle = 35 + hold // 2
    return Clip(frames, (middle,), (out + hold + back) // 2 + 2)


def black_and_white(rng: np.random.Generator) -> Clip:
    """Three shots and hard cuts, without colour; some with a tint or the noise of a film."""
    lengths = rng.integers(20, 31, 3)
    frames = np.concatenate([shot(rng, int(num)) for num in lengths]).mean(-1, keepdims=True)
    tint = rng.choice([0.0, 1.0]) * np.array([8.0, 0.0, -10.0])
    frames = frames + tint + rng.normal(size=frames.shape) * rng.choice([0.0, 4.0])
    return Clip(np.clip(frames, 0, 255).astype(np.uint8), (int(lengths[0]), int(lengths[:2].sum())), 2)


def plain(rng: np.random.Generator) -> Clip:
    """Three shots and hard cuts in colour: nothing may be lost to the others."""
    lengths = rng.integers(15, 31, 3)
    frames = np.concatenate([shot(rng, int(num)) for num in lengths])
    return Clip(frames, (int(lengths[0]), int(lengths[:2].sum())), 2)


def colour(rng: np.random.Generator) -> Frames:
    """Black, or white every fourth time."""
    return np.full((1, HEIGHT, WIDTH, 3), 0 if rng.random() < 0.75 else 255, np.uint8)


def blank_of(frames: Frames) -> Frames:
    """The colour out of which a shot comes: that which its first frame is nearest to."""
    return np.full((1, *frames.shape[1:]), 255 if frames[0].mean() > 128 else 0, np.uint8)


KINDS: dict[str, Callable[[np.random.Generator], Clip]] = {
    "flash": flash,
    "fade in": fade_in,
    "fade out": fade_out,
    "fade through": fade_through,
    "black and white": black_and_white,
    "plain": plain,
}


def draw(kind: str, seed: int) -> Clip:
    """One clip; the same for the same seed."""
    return KINDS[kind](np.random.default_rng([list(KINDS).index(kind), seed]))
