"""Procedural films whose cuts are known exactly.

A scene is a subject with an identity (a red ball) that appears in every shot, and one view for each
shot: a textured place, a framing, a camera move, a subject motion. A cut goes to another view; the
subject stays the same. Everything is drawn from a seed with numpy alone, so the same seed gives the
same pixels, the cuts are exact by construction, and no footage or licence is involved.

Legend: T frames, H height, W width in pixels. World coordinates: the short side of a wide shot spans
[-1, 1]; x to the right, y down. Colours are RGB in [0, 1].
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from attnscope.dataset.drawing import painting
from attnscope.dataset.drawing.worlds import CAMERAS, DEFAULT_WORLD, MOTIONS, World, find_world
from attnscope.errors import ShotPlanError
from attnscope.shots import ShotPlan

Timing = Literal["exact", "none", "random"]

COUNT_WORDS = ("One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight")
"""How a caption says the number of shots; a scene has at most this many."""


@dataclass(frozen=True)
class Subject:
    """Who the film is about: one shape in one colour, the same in every shot."""

    shape: str
    colour: str

    def caption(self) -> str:
        """Say the subject, e.g. ``a red ball``."""
        article = "an" if self.colour[0] in "aeiou" else "a"
        return f"{article} {self.colour} {self.shape}"


@dataclass(frozen=True)
class View:
    """How one shot looks: the place, the framing, how subject and camera move."""

    texture: str
    colours: tuple[str, str]
    framing: str
    motion: str
    camera: str
    phase: float
    start: tuple[float, float]

    def caption(self) -> str:
        """Say the view, e.g. ``wide shot, blue and pink stripes, drifts left, static camera``."""
        place = f"{self.colours[0]} and {self.colours[1]} {self.texture}"
        return f"{self.framing} shot, {place}, {self.motion}, {self.camera}"


@dataclass(frozen=True)
class Scene:
    """One film with its ground truth: the plan of its shots, its subject, a view for each shot.

    ``world`` names what the film is made of (:data:`attnscope.dataset.drawing.worlds.WORLDS`).
    ``dissolve_frames`` is the number of frames over which each cut is blended (0: hard cuts). A dissolve
    of n frames starts at the cut frame: frame ``cut + k`` shows the new shot with weight (k + 1) / (n + 1).
    """

    plan: ShotPlan
    subject: Subject
    views: tuple[View, ...]
    seed: int
    dissolve_frames: int = 0
    world: str = DEFAULT_WORLD

    def caption(self, timing: Timing = "exact") -> str:
        """Describe the film the way a prompt does.

        ``exact`` gives the true shot times, ``none`` leaves them out, ``random`` gives wrong ones on purpose
        (a model that is trained on those cannot learn to place a cut from the text).

        >>> print(sample_scene(3, num_shots=2).caption("none"))  # doctest: +ELLIPSIS
        Two shots: ...; Shot 1: ...; Shot 2: ...
        """
        head = f"{COUNT_WORDS[len(self.views) - 1]} shot{'s' if len(self.views) > 1 else ''}"
        if len(self.views) == 1:
            return f"{head}: {self.shot_captions()[0]}"
        shots = "; ".join(
            f"Shot {i + 1}: {when}{view.caption()}"
            for i, (when, view) in enumerate(zip(self._times(timing), self.views, strict=True))
        )
        return f"{head}: {self.subject.caption()}; {shots}"

    def general_caption(self) -> str:
        """Describe what all shots share, e.g. ``Two shots: a red ball``."""
        head = f"{COUNT_WORDS[len(self.views) - 1]} shot{'s' if len(self.views) > 1 else ''}"
        return f"{head}: {self.subject.caption()}"

    def shot_captions(self) -> tuple[str, ...]:
        """Describe each shot by itself, subject included."""
        return tuple(f"{self.subject.caption()}, {view.caption()}" for view in self.views)

    def _times(self, timing: Timing) -> list[str]:
        if timing == "none":
            return [""] * len(self.views)
        cuts = list(self.plan.cuts_frame)
        if timing == "random":
            rng = np.random.default_rng([self.seed, 1])
            pool = np.arange(1, self.plan.num_frames)
            cuts = sorted(int(c) for c in rng.choice(pool, size=len(cuts), replace=False))
        edges = [0, *cuts, self.plan.num_frames]
        seconds = [float(edge / self.plan.fps) for edge in edges]
        return [f"[{a:.1f}s, {b:.1f}s] " for a, b in pairwise(seconds)]


def sample_scene(
    seed: int,
    *,
    num_shots: int | None = None,
    plan: ShotPlan | None = None,
    num_frames: int = 49,
    fps: Fraction | int = 16,
    stride: int = 4,
    min_shot_latent_frames: int = 2,
    keep_place: float = 0.3,
    dissolve_frames: int = 0,
    world: str = DEFAULT_WORLD,
) -> Scene:
    """Invent a film: a subject, and a view for each shot.

    Without ``plan`` the cuts are drawn on the causal latent grid (cut at latent k is frame ``stride * k - 3``
    for stride 4), at least ``min_shot_latent_frames`` apart. ``keep_place`` is the share of cuts that stay in
    the same place and change only framing and camera. ``world`` is what the film is made of: ``textured`` (busy places)
    or ``plain`` (places of two colours, a large subject, slow moves). The same arguments always give the same film.

    Raises
    ------
    InputError
        There is no such world.
    ShotPlanError
        There are too few frames for that many shots.

    Examples
    --------
    >>> scene = sample_scene(7, num_shots=2)
    >>> scene.plan.num_shots, len(scene.views), scene == sample_scene(7, num_shots=2)
    (2, 2, True)
    """
    rng = np.random.default_rng(seed)
    made_of = find_world(world)
    if plan is None:
        count = int(rng.integers(1, 4)) if num_shots is None else num_shots
        plan = _sample_plan(rng, count, num_frames, Fraction(fps), stride, min_shot_latent_frames)
    if plan.num_shots > len(COUNT_WORDS):
        raise ShotPlanError(
            expected=f"at most {len(COUNT_WORDS)} shots",
            got=f"{plan.num_shots}",
            where="in sample_scene",
            remedy="ask for fewer",
        )
    subject = Subject(_pick(rng, made_of.shapes), _pick(rng, made_of.subject_colours))
    views = [_sample_view(rng, made_of, subject)]
    while len(views) < plan.num_shots:
        views.append(_next_view(rng, made_of, subject, views[-1], keep_place))
    return Scene(plan, subject, tuple(views), seed, dissolve_frames, world)


def render(scene: Scene, *, height: int = 64, width: int = 64) -> npt.NDArray[np.uint8]:
    """Draw the film: uint8 array (frames, height, width, 3).

    >>> render(sample_scene(0, num_shots=1, num_frames=9)).shape
    (9, 64, 64, 3)
    """
    takes = [
        (shot, view, _draw_view(scene, view, shot.stop - shot.start, height, width))
        for shot, view in zip(scene.plan.shots, scene.views, strict=True)
    ]
    frames = np.concatenate([pixels for _, _, pixels in takes])
    length = scene.dissolve_frames
    for (before, view, _), (after, _, pixels) in pairwise(takes):
        num = min(length, after.stop - after.start)
        if num:
            # the old shot runs on under the new one, as on film
            longer = _draw_view(scene, view, before.stop - before.start + num, height, width)
            weight = (np.arange(1, num + 1) / (length + 1))[:, None, None, None]
            frames[after.start : after.start + num] = weight * pixels[:num] + (1 - weight) * longer[-num:]
    return np.asarray(np.round(255 * frames), dtype=np.uint8)


def vocabulary(world: str = DEFAULT_WORLD) -> tuple[str, ...]:
    """List every word and sign that captions of a world can contain, for a tokenizer built without training.

    Raises
    ------
    InputError
        There is no such world.

    Examples
    --------
    >>> {"hills", "Shot", ";", "7"} <= set(vocabulary())
    True
    """
    words = find_world(world).words() | set(COUNT_WORDS)
    return tuple(sorted(words | {"a", "an", "and", "shot", "shots", "Shot", "s"} | set("0123456789.,;:[]")))


def _pick(rng: np.random.Generator, options: Iterable[str]) -> str:
    names = tuple(options)
    return names[int(rng.integers(len(names)))]


def _sample_plan(
    rng: np.random.Generator, num_shots: int, num_frames: int, fps: Fraction, stride: int, spacing: int
) -> ShotPlan:
    num_latent = (num_frames - 1) // stride + 1
    slack = num_latent - spacing * num_shots
    if slack < 0:
        raise ShotPlanError(
            expected=f"at least {spacing} latent frames for each shot",
            got=f"{num_latent} latent frames for {num_shots} shots",
            where="in sample_scene",
            remedy="ask for fewer shots or more frames",
        )
    # stars and bars: every way to share out the slack is equally likely
    bars = np.sort(rng.choice(slack + num_shots - 1, size=num_shots - 1, replace=False))
    extra = np.diff(np.concatenate([[-1], bars, [slack + num_shots - 1]])) - 1
    cuts = np.cumsum(extra + spacing)[:-1]
    return ShotPlan.from_frames(
        tuple(int(stride * (cut - 1) + 1) for cut in cuts), num_frames=num_frames, fps=fps
    )


def _sample_view(rng: np.random.Generator, world: World, subject: Subject) -> View:
    names = [name for name in world.place_colours if name != subject.colour]
    first, second = (names[int(i)] for i in rng.choice(len(names), size=2, replace=False))
    return View(
        texture=_pick(rng, world.textures),
        colours=(first, second),
        framing=_pick(rng, world.zoom),
        motion=_pick(rng, MOTIONS),
        camera=_pick(rng, CAMERAS),
        phase=float(rng.uniform(0, 1)),
        start=(float(rng.uniform(-0.4, 0.4)), float(rng.uniform(-0.4, 0.4))),
    )


def _next_view(
    rng: np.random.Generator, world: World, subject: Subject, last: View, keep_place: float
) -> View:
    view = _sample_view(rng, world, subject)
    if rng.uniform() < keep_place:
        others = [name for name in world.zoom if name != last.framing]
        framing = others[int(rng.integers(len(others)))]
        return replace(view, framing=framing, **{name: getattr(last, name) for name in world.kept_in_place})
    if view.colours[0] == last.colours[0]:
        view = replace(view, colours=(view.colours[1], view.colours[0]))
    return view


def _draw_view(scene: Scene, view: View, num_frames: int, height: int, width: int) -> npt.NDArray[np.float64]:
    """Draw one shot: (num_frames, height, width, 3) in [0, 1]."""
    world = find_world(scene.world)
    time_s = np.arange(num_frames) / float(scene.plan.fps)
    pan, widening = CAMERAS[view.camera]
    zoom = world.zoom[view.framing] * np.exp(widening * world.zoom_rate * time_s)
    rows = (np.arange(height) + 0.5) / min(height, width) * 2 - height / min(height, width)
    columns = (np.arange(width) + 0.5) / min(height, width) * 2 - width / min(height, width)
    pan_x = pan * world.pan * time_s
    x = columns[None, None, :] * zoom[:, None, None] + pan_x[:, None, None]
    y = rows[None, :, None] * zoom[:, None, None] + 0 * columns[None, None, :]
    place = painting.draw_texture(view.texture, view.colours, x, y, view.phase)
    place = painting.shade(place, columns[None, None, :], rows[None, :, None], view.phase, world.shading)
    move_x, move_y = (direction * world.speed for direction in MOTIONS[view.motion])
    # the camera follows the subject, so that it stays in the picture
    centre_x = view.start[0] * zoom + pan_x + move_x * time_s * zoom
    centre_y = view.start[1] * zoom + move_y * time_s * zoom
    drawn = painting.draw_subject(
        place,
        scene.subject.shape,
        scene.subject.colour,
        x,
        y,
        centre_x,
        centre_y,
        pixel=2 / min(height, width) * zoom,
        size=world.size,
    )
    return np.clip(drawn, 0, 1)  # the light can make a place brighter than white
