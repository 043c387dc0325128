"""Which detector sees the cuts of films that a small model made? Against what an eye saw, and on drawn films.

    python experiments/cut_detectors/run.py --choose   # the threshold of `span`, on films of their own
    python experiments/cut_detectors/run.py --choose --model unet-mini   # the same for 16 frames at 8 a second
    python experiments/embedded_models/accept.py ...   # makes the films that labels.py names
    python experiments/cut_detectors/run.py --films runs/embedded_models/films

Prints, for each detector, how many of the cuts it finds within half a latent frame (2 frames) and within a whole one
(4), and how many of what it finds is a cut; then the same for `span` at other thresholds. The labels only check it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from labels import SEEN

import attnscope as scope
from attnscope.dataset import Scene, render, sample_scene
from attnscope.metrics import agreement, detect_cuts
from attnscope.models.finding import DRAWN_VIDEO, UsualVideo, usual_video
from attnscope.structure import pooled_share_interval

FPS = 16
NUM_FRAMES = 49
DRAWN_SEED, CHOOSING_SEED = 45_000_000, 46_000_000
CHOOSING_FILMS = 200
DETECTORS = ("span", "content", "adaptive", "transnetv2", "vote")
THRESHOLDS = (0.1, 0.12, 0.135, 0.15, 0.165, 0.18, 0.2, 0.22, 0.246, 0.3, 0.35)

Film = tuple[Any, list[int]]


def labelled(folder: Path) -> list[Film]:
    """Films with the first frames of the shots that were seen in them; those without a label are left out."""
    found = []
    for name, seen in SEEN.items():
        if seen is not None and (folder / f"{name}.npy").is_file():
            found.append((np.load(folder / f"{name}.npy"), [4 * latent - 3 for latent in seen]))
    return found


def drawn(num_films: int) -> list[Film]:
    """Drawn films of one to four shots, and their cuts."""
    scenes = [
        sample_scene(DRAWN_SEED + film, num_shots=1 + film % 4, num_frames=NUM_FRAMES)
        for film in range(num_films)
    ]
    return [(render(scene), list(scene.plan.cuts_frame)) for scene in scenes]


def filmed_again(seed: int, video: UsualVideo) -> Scene:
    """A scene whose shots have one caption, as the films of a mask do: subject and camera begin elsewhere in each."""
    rng = np.random.default_rng([seed, 0])
    clock = {"num_frames": video.num_frames, "fps": video.fps, "stride": video.stride}
    shortest = 2 if video.stride > 1 else 3
    scene = sample_scene(seed, num_shots=1 + seed % 3, min_shot_latent_frames=shortest, **clock)
    views = [
        replace(scene.views[0], phase=float(rng.uniform()), start=tuple(rng.uniform(-0.4, 0.4, 2).tolist()))
        for _ in scene.views
    ]
    return replace(scene, views=tuple(views))


@torch.no_grad()
def decoded(vae: Any, frames: Any, *, is_picture_vae: bool) -> Any:
    """The film after the autoencoder: `(frames, height, width, 3)`, uint8."""
    pictures = torch.from_numpy(frames).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    given = pictures if is_picture_vae else pictures.transpose(0, 1)[None]
    back = vae.decode(vae.encode(given).latent_dist.mode()).sample
    back = back if is_picture_vae else back[0].transpose(0, 1)
    return back.permute(0, 2, 3, 1).add(1).mul(127.5).round().clamp(0, 255).byte().numpy()


def to_choose_on(num_films: int, model: str, video: UsualVideo) -> list[Film]:
    """Films of one caption for all shots, every other one after the autoencoder of the model."""
    vae = scope.load(model).vae
    films: list[Film] = []
    for number in range(num_films):
        scene = filmed_again(CHOOSING_SEED + number, video)
        frames = render(scene)
        if number % 2:
            frames = decoded(vae, frames, is_picture_vae=video.stride == 1)
        films.append((frames, list(scene.plan.cuts_frame)))
    return films


def choose(films: list[Film], video: UsualVideo) -> None:
    """Print errors of `span` by threshold, and the middle of the thresholds that err least."""
    thresholds, errors = np.arange(0.06, 0.4, 0.01), []
    for threshold in thresholds:
        missed = too_many = 0
        for frames, cuts in films:
            found = span_at(frames, float(threshold), video)
            matched = agreement(found, cuts, tolerance_frame=2).num_matched
            missed, too_many = missed + len(cuts) - matched, too_many + len(found) - matched
        errors.append(missed + too_many)
        print(f"  {threshold:.2f}  missed {missed:3d}  too many {too_many:3d}", flush=True)
    best = thresholds[np.array(errors) == min(errors)]
    print(f"{sum(len(cuts) for _, cuts in films)} cuts in {len(films)} films; least errors {min(errors)}")
    print(f"from {best[0]:.2f} to {best[-1]:.2f}, middle {best.mean():.3f}")


def span_at(frames: Any, threshold: float, video: UsualVideo = DRAWN_VIDEO) -> tuple[int, ...]:
    """The cuts that `span` finds at a threshold."""
    return detect_cuts(
        frames, video.fps, detector="span", threshold=threshold, shortest_shot_s=0, stride=video.stride
    ).cuts_frame


def counts(films: Iterable[Film], find: Callable[[Any], Iterable[int]]) -> str:
    """Recall and precision over all cuts of the films at two tolerances, with intervals by film."""
    pairs = [(tuple(find(frames)), cuts) for frames, cuts in films]
    num_found = sum(len(found) for found, _ in pairs)
    asked = xr.DataArray([len(cuts) for _, cuts in pairs], dims="prompt")
    parts = []
    for tolerance in (2, 4):
        matched = asked.copy(
            data=[agreement(found, cuts, tolerance_frame=tolerance).num_matched for found, cuts in pairs]
        )
        low, high = (float(end) for end in pooled_share_interval(matched, asked))
        hits, tries = int(matched.sum()), int(asked.sum())
        precision = f"{hits / num_found:.2f}" if num_found else "   -"
        parts.append(f"{hits:3d}/{tries} {hits / tries:.2f} [{low:.2f}, {high:.2f}]  {precision}")
    return f"{parts[0]}   {parts[1]}   {num_found:3d} found"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--films", type=Path, default=Path("runs/embedded_models/films"))
    parser.add_argument("--drawn", type=int, default=100)
    parser.add_argument("--choose", action="store_true", help="choose the threshold of span")
    parser.add_argument("--model", default="wan-mini", help="whose autoencoder and clock, with --choose")
    given = parser.parse_args()
    if given.choose:
        video = usual_video(given.model) or DRAWN_VIDEO
        choose(to_choose_on(CHOOSING_FILMS, given.model, video), video)
        return
    for name, films in (("generated", labelled(given.films)), ("drawn", drawn(given.drawn))):
        print(f"{name}: {len(films)} films   within 2 frames: recall, precision   within 4 frames")
        for detector in DETECTORS:

            def find(frames: Any, detector: Any = detector) -> Iterable[int]:
                return detect_cuts(frames, FPS, detector=detector, shortest_shot_s=0).cuts_frame

            print(f"  {detector:<11} {counts(films, find)}", flush=True)
        for threshold in THRESHOLDS:

            def find_at(frames: Any, threshold: float = threshold) -> Iterable[int]:
                return span_at(frames, threshold)

            print(f"  span {threshold:<6g} {counts(films, find_at)}", flush=True)


if __name__ == "__main__":
    main()
