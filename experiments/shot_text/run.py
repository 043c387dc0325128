"""Does each shot show what its own caption says? Two-shot films, captions routed to their shots or read by all.

    python experiments/shot_text/run.py --films 24 --out runs/shot_text

A shot is scored by its most frequent colour, of the twelve that captions can name: is it one of the two that its own
caption names (match), or one of the two of the other shot's (crossed, the chance level of a film that does not tell its
shots apart). Keeps each film as `<out>/<model>/<condition>/<film>.npy`; films that are there are skipped.
`--summary` prints the table of what is there.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import attnscope as scope
from attnscope import masks
from attnscope.dataset import COLOURS, Scene, sample_scene
from attnscope.intervening.film import Film

HELD_OUT_SEED = 30_000_000
CONDITIONS = ("routed", "routed-7-28", "not-routed")
SETTLED_FRAME = 4  # of a shot, are left out: the VAE blends the cut over a latent frame


class Row(NamedTuple):
    """One film: the colours that each shot's caption names, each shot's own, and whether it is cut where asked."""

    colours: list[Any]
    top: list[str]
    cut: bool


def scene_of(number: int) -> Scene:
    """A held-out film of two shots in different places whose colours have no word in common."""
    seed = HELD_OUT_SEED + 1000 * number
    while True:
        scene = sample_scene(seed, num_shots=2, num_frames=49, keep_place=0.0)
        if not set(scene.views[0].colours) & set(scene.views[1].colours):
            return scene
        seed += 1


def film_of(pipe: Any, scene: Scene, condition: str, seed: int) -> Film:
    """Make the film; every condition has the same mask between frames, and only the text differs."""
    rule = masks.Intervention(masks.same_shot(scene.plan), layers="7-28")
    if condition == "not-routed":
        return scope.generate(pipe, scene.caption("none"), shots=scene.plan, rule=rule, seed=seed)
    return scope.generate(
        pipe,
        scene.general_caption(),
        shots=scene.plan,
        rule=rule,
        seed=seed,
        captions=scene.shot_captions(),
        text_layers="all" if condition == "routed" else "7-28",
    )


def top_colour(frames: NDArray[np.uint8]) -> str:
    """The colour of a caption that most pixels are nearest to."""
    names, palette = list(COLOURS), np.array(list(COLOURS.values()))
    pixels = frames.reshape(-1, 3) / 255.0
    nearest = np.argmin(((pixels[:, None] - palette[None]) ** 2).sum(-1), axis=1)
    return names[int(np.bincount(nearest, minlength=len(names)).argmax())]


def run(model: str, num_films: int, conditions: list[str], out: Path) -> None:
    """Make what is missing."""
    pipe: Any = scope.load(model)
    pipe.set_progress_bar_config(disable=True)
    for number in range(num_films):
        for condition in conditions:
            path = out / model / condition / f"{number}.npy"
            if path.is_file():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_suffix(".part")
            with unfinished.open("wb") as file:
                np.save(file, film_of(pipe, scene_of(number), condition, seed=number).frames)
            unfinished.replace(path)


def rows_of(folder: Path) -> list[Row]:
    """Look at the films of a condition."""
    rows = []
    for path in sorted(folder.glob("*.npy"), key=lambda each: int(each.stem)):
        scene, frames = scene_of(int(path.stem)), np.load(path)
        shots = [(shot.start + (SETTLED_FRAME if shot.start else 0), shot.stop) for shot in scene.plan.shots]
        found = scope.metrics.detect_cuts(frames, 16, detector="span", shortest_shot_s=0).cuts_frame
        asked = scene.plan.to_latent().realised_frame
        rows.append(
            Row(
                [view.colours for view in scene.views],
                [top_colour(frames[start:stop]) for start, stop in shots],
                scope.metrics.agreement(found, asked).recall == 1,
            )
        )
    return rows


def summary(folder: Path) -> None:
    """Print, for each condition, the share of shots and of films that match."""
    print(f"{folder.name:<14} films  shots match  shots crossed  both shots match  cut where asked")
    for condition in CONDITIONS:
        mine = rows_of(folder / condition)
        if not mine:
            continue
        match = np.array([[row.top[i] in row.colours[i] for i in (0, 1)] for row in mine])
        crossed = np.array([[row.top[i] in row.colours[1 - i] for i in (0, 1)] for row in mine])
        cut = np.mean([row.cut for row in mine])
        print(
            f"{condition:<14} {len(mine):5d}  {match.mean():11.2f}  {crossed.mean():13.2f}  "
            f"{match.all(1).mean():16.2f}  {cut:15.2f}"
        )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="wan-mini")
    parser.add_argument("--conditions", default=",".join(CONDITIONS))
    parser.add_argument("--films", type=int, default=24)
    parser.add_argument("--out", type=Path, default=Path("runs/shot_text"))
    parser.add_argument("--summary", action="store_true")
    given = parser.parse_args()
    if not given.summary:
        run(given.model, given.films, given.conditions.split(","), given.out)
    summary(given.out / given.model)


if __name__ == "__main__":
    main()
