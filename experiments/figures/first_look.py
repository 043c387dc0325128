"""Draw the picture that README.md opens with, from a store that `attnscope probe` left.

    python experiments/figures/first_look.py STORE SEED -o docs

SEED is that of the drawn film that was looked at (see `attnscope probe --help`); the film is drawn again from it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import attnscope as scope
from attnscope.dataset import render, sample_scene


def main() -> None:
    """Draw the overview with the film above it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", type=Path)
    parser.add_argument("seed", type=int)
    parser.add_argument("-o", "--out", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    dataset = scope.open_store(arguments.store)
    film = render(sample_scene(arguments.seed, num_shots=3))[dataset.query_start_frame.values]
    maps = scope.structure.mean_map(dataset.sel(branch="cond"))
    figure = scope.plots.plot_overview(
        dataset,
        scope.structure.profile(scope.structure.contrast(maps), scale="log"),
        scope.structure.profile(scope.structure.correlation(maps)),
        distance_only=scope.structure.profile(scope.structure.distance_only_contrast(maps), scale="log"),
        adjusted=scope.structure.profile(scope.structure.adjusted_r(maps)),
        band=(7, 28),
        film=film,
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    scope.plots.save_figure(figure, arguments.out / "first_look")


if __name__ == "__main__":
    main()
