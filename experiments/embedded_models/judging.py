"""Films of a model, made once and kept, and what the readers say of them.

Every film is made from the caption of a held-out scene; its number says which scene and which noise it began with.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from readers import CutReader, PictureReader, answers, find_cuts, load_reader

import attnscope as scope
from attnscope import masks
from attnscope.dataset import Scene, sample_scene
from attnscope.models.finding import UsualVideo
from attnscope.structure import interval, pooled_share_interval

Frames = NDArray[np.uint8]
GUIDANCE = 2.5


@dataclass(frozen=True)
class Making:
    """How films of a model are made: their size, the shots that it was trained on, its mask."""

    video: UsualVideo
    world: str
    shortest: int
    """Latent frames of the shortest shot that a mask is asked for."""
    preset: str
    layers: str

    @property
    def num_latent(self) -> int:
        """Number of latent frames."""
        return (self.video.num_frames - 1) // self.video.stride + 1

    @property
    def call(self) -> dict[str, Any]:
        """What the pipeline is told."""
        names = ("height", "width", "num_frames")
        size = {name: getattr(self.video, name) for name in names}
        return {**size, "num_inference_steps": self.video.num_steps, "guidance_scale": GUIDANCE}

    def scene(self, seed: int, *, num_shots: int, keep_place: float = 0.3) -> Scene:
        """A scene of this size, with no shot shorter than in training."""
        return sample_scene(
            seed,
            num_shots=num_shots,
            num_frames=self.video.num_frames,
            fps=self.video.fps,
            stride=self.video.stride,
            min_shot_latent_frames=max(2, self.shortest),
            keep_place=keep_place,
            world=self.world,
        )


SEEDS = {"one-shot": 41_000_000, "captioned": 51_000_000, "masked": 61_000_000, "chosen": 70_000_000}
"""First seed of the scenes of each kind; ``chosen`` are those on which a choice may be made. Scenes of 40, 50 and 60
million were looked at while the recipe was made."""


@dataclass(frozen=True)
class Readers:
    """Both readers, and the logit from which there is a cut."""

    pictures: PictureReader
    cuts: CutReader
    threshold: float


def base_of(name: str) -> str:
    """The model whose control this is, or itself."""
    return name.removesuffix("-nocuts")


def load_model(folder: Path, name: str) -> Any:
    """A model of a folder of exported weights; a control takes all but what denoises from its model."""
    pipe: Any = scope.load(folder / base_of(name))
    if name != base_of(name):
        part = "unet" if hasattr(pipe, "unet") else "transformer"
        kind = type(getattr(pipe, part))
        setattr(pipe, part, kind.from_pretrained(folder / name / part, torch_dtype=torch.float32).eval())
    pipe.set_progress_bar_config(disable=True)
    return pipe


def making_of(folder: Path, name: str, world: str) -> Making:
    """How films of an exported model are made."""
    video = UsualVideo(**json.loads((folder / name / "card.json").read_text())["video"])
    if base_of(name) == "unet-mini":
        return Making(video, world, shortest=3, preset="cinetrans-unet", layers="-6:")
    return Making(video, world, shortest=1, preset="cinetrans-dit", layers="7-28")


def one_shot(number: int, making: Making, kind: str = "one-shot") -> Scene:
    """A held-out scene of one shot."""
    return making.scene(SEEDS[kind] + number, num_shots=1)


def captioned(number: int, making: Making) -> Scene:
    """A held-out scene of two shots in different places."""
    return making.scene(SEEDS["captioned"] + number, num_shots=2, keep_place=0.0)


def plan_of(number: int, making: Making) -> scope.ShotPlan:
    """Two shots; the cut walks over all places of the latent grid that leave both long enough."""
    places = range(making.shortest, making.num_latent - making.shortest + 1)
    return scope.ShotPlan.from_latent_frames(
        [places[number % len(places)]],
        num_frames_latent=making.num_latent,
        fps=making.video.fps,
        stride=making.video.stride,
    )


def keep(path: Path, make: Callable[[], Frames]) -> Frames:
    """A film that lies there, or is made and laid there."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        with unfinished.open("wb") as file:
            np.save(file, make())
        unfinished.replace(path)
    return np.asarray(np.load(path))


def unmasked_film(pipe: Any, scene: Scene, seed: int, making: Making) -> Frames:
    """A film from a caption alone."""
    return scope.generate(
        pipe, scene.caption("none"), shots=scene.plan, seed=seed, progress=False, **making.call
    ).frames


def masked_film(pipe: Any, scene: Scene, number: int, making: Making) -> Frames:
    """A film from a one-shot caption, cut by the published mask."""
    plan = plan_of(number, making)
    rule = masks.preset(making.preset, plan)
    return scope.generate(
        pipe, scene.caption("none"), shots=plan, rule=rule, seed=number, progress=False, **making.call
    ).frames


def captioned_film(pipe: Any, scene: Scene, seed: int, making: Making) -> Frames:
    """A film whose shots read a caption each."""
    rule = masks.Intervention(masks.same_shot(scene.plan), layers=making.layers)
    return scope.generate(
        pipe,
        scene.general_caption(),
        shots=scene.plan,
        rule=rule,
        captions=scene.shot_captions(),
        seed=seed,
        progress=False,
        **making.call,
    ).frames


def share(hits: Sequence[int], tries: Sequence[int] | None = None) -> dict[str, Any]:
    """A share of all tries, so many a film (one), with its 95 % interval; nothing where nothing was tried.

    The tries of a film go together; below three films with a try there is no interval.
    """
    hit, tried = (xr.DataArray(list(each), dims="prompt") for each in (hits, tries or [1] * len(hits)))
    num = int(tried.sum())
    if not num:
        return {"value": None, "interval": None, "n": 0}
    ends = [float(end) for end in pooled_share_interval(hit, tried)]
    return {
        "value": int(hit.sum()) / num,
        "interval": None if np.isnan(ends).any() else ends,
        "n": num,
    }


def mean(values: Any) -> dict[str, Any]:
    """A mean over films with its 95 % interval."""
    films = xr.DataArray(np.asarray(values, dtype=float), dims="prompt")
    low, high = interval(films)
    return {"value": float(films.mean()), "interval": [float(low), float(high)], "n": films.size}


def reading(reader: PictureReader, films: list[tuple[Scene, Frames]]) -> dict[str, Any]:
    """Share of shots of which the reader says what their caption says, question by question."""
    right: dict[str, list[int]] = {}
    shots = [list(enumerate(scene.plan.shots)) for scene, _ in films]
    for (scene, frames), mine in zip(films, shots, strict=True):
        said = [reader.read(frames[shot.start : shot.stop]) for _, shot in mine]
        wanted = [answers(scene, number) for number, _ in mine]
        for question in wanted[0]:
            hits = sum(said[number][question] == wanted[number][question] for number, _ in mine)
            right.setdefault(question, []).append(hits)
    return {question: share(hits, [*map(len, shots)]) for question, hits in right.items()}


def both_shots_match(reader: PictureReader, films: list[tuple[Scene, Frames]]) -> dict[str, Any]:
    """Share of films in which every shot has the subject, its colour, the place and its colours of its own caption."""
    asked = ("shape", "colour", "place", "place_colours")
    hits = []
    for scene, frames in films:
        shots = list(enumerate(scene.plan.shots))
        said = [reader.read(frames[shot.start : shot.stop]) for _, shot in shots]
        hits.append(
            all(said[i][question] == answers(scene, i)[question] for i, _ in shots for question in asked)
        )
    return share(hits)


def cutting(found: list[tuple[int, ...]], asked: list[tuple[int, ...]], tolerance: int = 2) -> dict[str, Any]:
    """Recall and precision of cuts within so many frames."""
    matched = [
        sum(any(abs(cut - other) <= tolerance for other in mine) for cut in wanted)
        for mine, wanted in zip(found, asked, strict=True)
    ]
    sure = [min(hits, len(mine)) for hits, mine in zip(matched, found, strict=True)]
    return {"recall": share(matched, [*map(len, asked)]), "precision": share(sure, [*map(len, found)])}


def load_readers(work: Path, films: dict[str, Any], drawn: list[tuple[Scene, Frames]]) -> Readers:
    """Both readers; the threshold is the one that errs least on films that were drawn, and decoded, for this alone."""
    pictures = load_reader(PictureReader(films["world"]), work / "picture_reader.safetensors")
    cuts = load_reader(CutReader(), work / "cut_reader.safetensors")
    logits = [cuts.logits(frames) for _, frames in drawn]
    asked = [scene.plan.cuts_frame for scene, _ in drawn]

    def errors(threshold: float) -> int:
        wrong = 0
        for row, wanted in zip(logits, asked, strict=True):
            wrong += len(set(find_cuts(row, threshold)) ^ set(wanted))
        return wrong

    thresholds = np.linspace(-6, 6, 49)
    wrong = np.array([errors(float(threshold)) for threshold in thresholds])
    # the middle of the thresholds that err least
    return Readers(pictures, cuts, float(thresholds[wrong == wrong.min()].mean()))


def film_pairs(
    folder: Path, scene_of: Callable[[int], Scene], make: Callable[[Scene, int], Frames], num_films: int
) -> list[tuple[Scene, Frames]]:
    """Scenes with their films; what lies in the folder is not made again."""
    pairs = []
    for number in range(num_films):
        scene = scene_of(number)
        pairs.append((scene, keep(folder / f"{number}.npy", partial(make, scene, number))))
    return pairs
