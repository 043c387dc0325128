"""Films of a model, made once and kept, and what the readers say of them.

Every film is made from the caption of a held-out scene; its number says which scene and which noise it began with.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from diffusers import WanTransformer3DModel
from numpy.typing import NDArray
from readers import CutReader, PictureReader, answers, find_cuts, load_reader

import attnscope as scope
from attnscope import masks
from attnscope.dataset import Scene, sample_scene
from attnscope.structure import interval, wilson

Frames = NDArray[np.uint8]
NUM_FRAMES, NUM_LATENT = 49, 13
CALL: dict[str, Any] = {
    "height": 64,
    "width": 64,
    "num_frames": NUM_FRAMES,
    "num_inference_steps": 20,
    "guidance_scale": 2.5,
}
SEEDS = {"one-shot": 41_000_000, "captioned": 51_000_000, "masked": 61_000_000, "chosen": 70_000_000}
"""First seed of the scenes of each kind; ``chosen`` are those on which a choice may be made. Scenes of 40, 50 and 60
million were looked at while the recipe was made."""


@dataclass(frozen=True)
class Readers:
    """Both readers, and the logit from which there is a cut."""

    pictures: PictureReader
    cuts: CutReader
    threshold: float


def load_model(folder: Path, name: str) -> Any:
    """A model of a folder of exported weights; a control takes all but its transformer from wan-mini."""
    pipe: Any = scope.load(folder / "wan-mini")
    if name != "wan-mini":
        pipe.transformer = WanTransformer3DModel.from_pretrained(
            folder / name / "transformer", torch_dtype=torch.float32
        ).eval()
    pipe.set_progress_bar_config(disable=True)
    return pipe


def one_shot(number: int, config: dict[str, Any], kind: str = "one-shot") -> Scene:
    """A held-out scene of one shot."""
    return sample_scene(SEEDS[kind] + number, num_shots=1, num_frames=NUM_FRAMES, world=config["world"])


def captioned(number: int, config: dict[str, Any]) -> Scene:
    """A held-out scene of two shots in different places."""
    return sample_scene(
        SEEDS["captioned"] + number, num_shots=2, num_frames=NUM_FRAMES, keep_place=0.0, world=config["world"]
    )


def plan_of(number: int) -> scope.ShotPlan:
    """Two shots; the cut walks over all positions of the latent grid, from 1 to 12."""
    return scope.ShotPlan.from_latent_frames(
        [1 + number % (NUM_LATENT - 1)], num_frames_latent=NUM_LATENT, fps=16
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


def unmasked_film(pipe: Any, scene: Scene, seed: int) -> Frames:
    """A film from a caption alone."""
    return scope.generate(
        pipe, scene.caption("none"), shots=scene.plan, seed=seed, progress=False, **CALL
    ).frames


def masked_film(pipe: Any, scene: Scene, number: int) -> Frames:
    """A film from a one-shot caption, cut by the published mask."""
    plan = plan_of(number)
    rule = masks.preset("cinetrans-dit", plan)
    return scope.generate(
        pipe, scene.caption("none"), shots=plan, rule=rule, seed=number, progress=False, **CALL
    ).frames


def captioned_film(pipe: Any, scene: Scene, seed: int) -> Frames:
    """A film whose shots read a caption each."""
    rule = masks.Intervention(masks.same_shot(scene.plan), layers="7-28")
    return scope.generate(
        pipe,
        scene.general_caption(),
        shots=scene.plan,
        rule=rule,
        captions=scene.shot_captions(),
        seed=seed,
        progress=False,
        **CALL,
    ).frames


def share(hits: Iterable[bool]) -> dict[str, Any]:
    """A share with its 95 % interval; nothing where nothing was tried."""
    counted = list(hits)
    if not counted:
        return {"value": None, "interval": None, "n": 0}
    low, high = wilson(sum(counted), len(counted))
    return {
        "value": sum(counted) / len(counted),
        "interval": [float(low), float(high)],
        "n": len(counted),
    }


def mean(values: Any) -> dict[str, Any]:
    """A mean over films with its 95 % interval."""
    films = xr.DataArray(np.asarray(values, dtype=float), dims="prompt")
    low, high = interval(films)
    return {"value": float(films.mean()), "interval": [float(low), float(high)], "n": films.size}


def reading(reader: PictureReader, films: list[tuple[Scene, Frames]]) -> dict[str, Any]:
    """Share of shots of which the reader says what their caption says, question by question."""
    right: dict[str, list[bool]] = {}
    for scene, frames in films:
        for number, shot in enumerate(scene.plan.shots):
            said, wanted = reader.read(frames[shot.start : shot.stop]), answers(scene, number)
            for question, answer in wanted.items():
                right.setdefault(question, []).append(said[question] == answer)
    return {question: share(hits) for question, hits in right.items()}


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
    num_asked, num_found = sum(map(len, asked)), sum(map(len, found))
    hit, sure = sum(matched), min(sum(matched), num_found)
    return {
        "recall": share([True] * hit + [False] * (num_asked - hit)),
        "precision": share([True] * sure + [False] * (num_found - sure)),
    }


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
