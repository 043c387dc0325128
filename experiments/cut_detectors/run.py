"""Which detector sees the cuts of films that a small model made? Against what an eye saw, and on drawn films.

    python experiments/mask_ablation/run.py ...      # makes the films that labels.py names
    python experiments/cut_detectors/run.py --films runs/ablation

Prints, for each detector, how many of the cuts it finds within half a latent frame (2 frames) and within a whole one
(4), and how many of what it finds is a cut; then the same for `span` at other thresholds. Its threshold was chosen on
drawn films, whose cuts are known; the labels only check it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from labels import SEEN

from attnscope.dataset import render, sample_scene
from attnscope.metrics import agreement, detect_cuts
from attnscope.structure import wilson

FPS = 16
DRAWN_SEED = 45_000_000
DETECTORS = ("span", "content", "adaptive", "transnetv2", "vote")
THRESHOLDS = (0.15, 0.18, 0.2, 0.22, 0.24, 0.246, 0.26, 0.28, 0.3, 0.35)

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
        sample_scene(DRAWN_SEED + film, num_shots=1 + film % 4, num_frames=49, world="textured")
        for film in range(num_films)
    ]
    return [(render(scene), list(scene.plan.cuts_frame)) for scene in scenes]


def counts(films: Iterable[Film], find: Callable[[Any], Iterable[int]]) -> str:
    """Recall and precision over all cuts of the films, with Wilson intervals, at two tolerances."""
    pairs = [(tuple(find(frames)), cuts) for frames, cuts in films]
    asked, found = (sum(len(pair[side]) for pair in pairs) for side in (1, 0))
    parts = []
    for tolerance in (2, 4):
        matched = sum(agreement(f, cuts, tolerance_frame=tolerance).num_matched for f, cuts in pairs)
        low, high = (float(end) for end in wilson(matched, asked))
        precision = f"{matched / found:.2f}" if found else "   -"
        parts.append(f"{matched:3d}/{asked} {matched / asked:.2f} [{low:.2f}, {high:.2f}]  {precision}")
    return f"{parts[0]}   {parts[1]}   {found:3d} found"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--films", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--drawn", type=int, default=100)
    given = parser.parse_args()
    for name, films in (("generated", labelled(given.films)), ("drawn", drawn(given.drawn))):
        print(f"{name}: {len(films)} films   within 2 frames: recall, precision   within 4 frames")
        for detector in DETECTORS:

            def find(frames: Any, detector: Any = detector) -> Iterable[int]:
                return detect_cuts(frames, FPS, detector=detector, shortest_shot_s=0).cuts_frame

            print(f"  {detector:<11} {counts(films, find)}", flush=True)
        for threshold in THRESHOLDS:

            def find_at(frames: Any, threshold: float = threshold) -> Iterable[int]:
                return detect_cuts(
                    frames, FPS, detector="span", threshold=threshold, shortest_shot_s=0
                ).cuts_frame

            print(f"  span {threshold:<6g} {counts(films, find_at)}", flush=True)


if __name__ == "__main__":
    main()
