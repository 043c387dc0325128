"""Draw through which layers attention keeps to its shot, and the overview page.

    python experiments/figures/profile.py STORE -o DIR [--band 7 28]

Reads the store alone; no model, no torch. Statistics are of maps averaged over heads and steps, one value per
prompt, with a 95 % band over prompts. Writes DIR/profile and DIR/overview as PNG and PDF.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import attnscope as scope


def main() -> None:
    """Read the command line, compute the curves, draw them, say what was written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", type=Path, help="zarr store written by `attnscope probe`")
    parser.add_argument("-o", "--out", type=Path, default=Path("figures"), help="folder for the figures")
    parser.add_argument(
        "--band", type=int, nargs=2, help="first and last layer to shade; CineTrans masks 7 28"
    )
    parser.add_argument("--prompt", help="id of the prompt whose maps the overview shows; the first without")
    parser.add_argument("--branch", default="cond", help="guidance branch")
    chosen = parser.parse_args()
    ds = scope.open_store(chosen.store).sel(branch=[chosen.branch])
    maps = scope.structure.mean_map(ds)
    contrast = scope.structure.profile(scope.structure.contrast(maps), scale="log")
    raw = scope.structure.profile(scope.structure.correlation(maps))
    beside = {
        "distance_only": scope.structure.profile(scope.structure.distance_only_contrast(maps), scale="log"),
        "adjusted": scope.structure.profile(scope.structure.adjusted_r(maps)),
    }
    band = (chosen.band[0], chosen.band[1]) if chosen.band else None
    profile = scope.plots.plot_profile(contrast, raw, **beside, band=band)
    overview = scope.plots.plot_overview(
        ds, contrast, raw, **beside, band=band, prompt=chosen.prompt, branch=chosen.branch
    )
    written = scope.plots.save_figure(profile, chosen.out / "profile")
    written += scope.plots.save_figure(overview, chosen.out / "overview")
    print(*written, sep="\n")


if __name__ == "__main__":
    try:
        main()
    except scope.errors.AttnscopeError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
