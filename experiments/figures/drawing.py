"""What the scripts of this folder share: the command line, and where the figure goes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import xarray as xr

import attnscope as scope


def run(script: str, sentence: str, draw: Callable[..., scope.plots.Page], *, is_sweep: bool = False) -> None:
    """Read the stores named on the command line, draw, write PNG and PDF named after the script, say which."""
    parser = argparse.ArgumentParser(
        description=sentence, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", type=Path, nargs="+", help="what attnscope probe, or sweep, wrote")
    parser.add_argument("-o", "--out", type=Path, default=Path("figures"), help="folder for the figure")
    chosen = parser.parse_args()
    read: Callable[[Path], xr.Dataset] = scope.open_sweep if is_sweep else scope.open_store
    try:
        figure = draw(*map(read, chosen.store))
        print(*scope.plots.save_figure(figure, chosen.out / Path(script).stem), sep="\n")
    except scope.errors.AttnscopeError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
