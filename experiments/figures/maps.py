"""Draw the frame maps of a store: layers downwards, denoising steps to the right.

    python experiments/figures/maps.py STORE -o DIR [--layers 7 14 28] [--prompt ID]

Reads the store alone; no model, no torch. Writes DIR/maps.png, DIR/maps.pdf and, with --html, DIR/maps.html.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import attnscope as scope


def main() -> None:
    """Read the command line, draw, say what was written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", type=Path, help="zarr store written by `attnscope probe`")
    parser.add_argument("-o", "--out", type=Path, default=Path("figures"), help="folder for the figures")
    parser.add_argument("--layers", type=int, nargs="+", help="layers to draw; four spread evenly without")
    parser.add_argument("--steps", type=int, nargs="+", help="steps to draw; five spread evenly without")
    parser.add_argument("--prompt", help="id of the prompt; the first without")
    parser.add_argument("--cmap", default="viridis", help="colour map; cividis suits more eyes")
    parser.add_argument("--html", action="store_true", help="also write a page with sliders")
    chosen = parser.parse_args()
    ds = scope.open_store(chosen.store)
    figure = scope.plots.plot_maps(
        ds, layers=chosen.layers, steps=chosen.steps, prompt=chosen.prompt, cmap=chosen.cmap
    )
    written = scope.plots.save_figure(figure, chosen.out / "maps")
    if chosen.html:
        page = chosen.out / "maps.html"
        sliders = scope.plots.interactive.figure_maps(ds, prompt=chosen.prompt)
        sliders.write_html(page, include_plotlyjs=True, div_id="maps")
        written.append(page)
    print(*written, sep="\n")


if __name__ == "__main__":
    try:
        main()
    except scope.errors.AttnscopeError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
