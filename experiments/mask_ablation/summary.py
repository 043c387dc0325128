"""Look for cuts in the films that `run.py` and `many_shots.py` made, print the tables, draw the pictures.

    python experiments/mask_ablation/summary.py --out runs/ablation --figures

A cut counts if it is found within two video frames of where the latent grid can put it. Intervals are 95 %, and
the cuts of a prompt go together. Precision is over all cuts that were found.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import many_shots
import numpy as np
import run
import xarray as xr
from films import Frames, kept
from numpy.typing import NDArray
from PIL import Image

import attnscope as scope
from attnscope.plots import plot_effects, save_figure
from attnscope.structure import pooled_share_interval

Ints = NDArray[np.int64]
HERE = Path(__file__).parent
TOLERANCE_FRAME = 2
SHEET = ("none", "blocks", "first-frame", "permuted", "band", "other-boundary")
SHEET_FILMS = ((8, 0), (10, 0))
SHEETS = {"wan-mini": "films", "wan-mini-nocuts": "films-nocuts"}


class Counts(NamedTuple):
    """Cuts of the films of one condition; ``asked``, ``found`` and ``matched`` are `(prompts,)`."""

    num_films: int
    asked: Ints
    found: Ints
    matched: Ints
    num_exact: int
    offsets: Counter[int]

    def line(self, name: str) -> str:
        """One line of the table."""
        offsets = ", ".join(f"{offset:+d}: {num}" for offset, num in sorted(self.offsets.items()))
        exact = self.num_exact / self.num_films
        recall, precision = (self._share(tries) for tries in (self.asked, self.found))
        return f"{name:<16} {self.num_films:5d}  {recall}  {precision}  {exact:.2f}  {offsets}"

    def recall(self) -> tuple[float, float, float]:
        """The share of the cuts asked for that are there, and the ends of its interval."""
        return self.matched.sum() / self.asked.sum(), *self._ends(self.asked)

    def _ends(self, tries: Ints) -> tuple[float, float]:
        low, high = pooled_share_interval(
            *(xr.DataArray(each, dims="prompt") for each in (self.matched, tries))
        )
        return float(low), float(high)

    def _share(self, tries: Ints) -> str:
        hits, all_tries = int(self.matched.sum()), int(tries.sum())
        counted = f"{hits:4d}/{all_tries:<4d}"
        if not all_tries:
            return f"{counted} {'-':>5} {'':14}"
        low, high = self._ends(tries)
        ends = f"[{low:.3f}, {high:.3f}]" if np.isfinite(low) else f"{'':14}"
        return f"{counted} {hits / all_tries:.3f} {ends}"


def count(films: Mapping[tuple[int, int], Frames], plan_of: Callable[[int], scope.ShotPlan]) -> Counts:
    """Look for the cuts of all films of a condition."""
    counted: dict[int, Ints] = {}
    num_exact, offsets = 0, Counter[int]()
    for (number, _), frames in films.items():
        asked = plan_of(number).to_latent().realised_frame
        found = scope.metrics.detect_cuts(frames, 16, detector="span", shortest_shot_s=0).cuts_frame
        pairs = scope.metrics.match_cuts(found, asked, tolerance_frame=TOLERANCE_FRAME)
        offsets.update(there - wanted for there, wanted in pairs)
        counted[number] = counted.get(number, 0) + np.array([len(asked), len(found), len(pairs)])
        num_exact += len(pairs) == len(asked) == len(found)
    return Counts(len(films), *np.stack([*counted.values()], axis=1), num_exact, offsets)


def table(title: str, rows: Mapping[str, Counts]) -> None:
    """Print what is there."""
    print(
        f"\n{title}\n{'condition':<16} films  recall [interval]  precision of what was found [interval]  exact  offsets"
    )
    for name, counts in rows.items():
        print(counts.line(name))


def figure(name: str, rows: Mapping[str, Counts], title: str) -> None:
    """Draw recall with its interval, the number of films at the right."""
    means, lows, highs = np.transpose([each.recall() for each in rows.values()])
    values = {"mean": means, "low": lows, "high": highs, "num": [each.num_films for each in rows.values()]}
    effect = xr.Dataset(
        {key: ("condition", value) for key, value in values.items()}, {"condition": list(rows)}
    )
    save_figure(plot_effects(effect, label="recall of the cuts asked for", title=title), HERE / name)


def sheet(out: Path, model: str, conditions: Iterable[str], name: str) -> None:
    """Films side by side: a row a condition, one picture a latent frame."""
    rows = []
    for number, seed in SHEET_FILMS:
        for condition in conditions:
            path = out / model / condition / f"{number}-{seed}.npy"
            if path.is_file():
                frames = np.load(path)
                pictures = [frames[0], *frames[3::4]]
                rows.append(np.concatenate([np.pad(each, ((0, 2), (0, 2), (0, 0))) for each in pictures], 1))
        rows.append(np.full((8, rows[-1].shape[1], 3), 255, np.uint8))
    whole = Image.fromarray(np.concatenate(rows[:-1]))
    whole.quantize(128).save(HERE / f"{name}.png", optimize=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--figures", action="store_true")
    given = parser.parse_args()
    for model in ("wan-mini", "wan-mini-nocuts", run.UNTRAINED):
        films = {condition: kept(given.out, model, condition) for condition in run.CONDITIONS}
        rows = {name: count(each, run.plan_of) for name, each in films.items() if each}
        if not rows:
            continue
        table(model, rows)
        if given.figures:
            figure(model, rows, model)
            if model in SHEETS:
                sheet(given.out, model, SHEET, SHEETS[model])
    many = {}
    for shots in many_shots.PLANS:
        for condition in many_shots.CONDITIONS:
            name = f"{condition}-{shots}"
            films = kept(given.out, "many", name)
            if films:
                many[name] = count(films, lambda number, shots=shots: many_shots.plan_of(shots, number))
    if many:
        table("many shots (wan-mini)", many)
        if given.figures:
            figure("many_shots", many, "2 to 8 shots")


if __name__ == "__main__":
    main()
