"""Draw which layers and cuts of a sweep belong together: a square for each change and each place of the cut.

python experiments/figures/grid.py SWEEP -o DIR
"""

from __future__ import annotations

import xarray as xr
from drawing import run

import attnscope as scope


def draw(swept: xr.Dataset) -> scope.plots.Page:
    """Average over seeds; grey where there is no film."""
    return scope.plots.plot_effect_grid(scope.structure.effect_grid(swept, rows="cell", columns="cuts_frame"))


if __name__ == "__main__":
    run(__file__, __doc__, draw, is_sweep=True)
