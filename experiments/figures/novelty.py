"""Draw where attention falls apart by itself, layer by layer, against the cuts of the first prompt.

python experiments/figures/novelty.py STORE -o DIR
"""

from __future__ import annotations

import xarray as xr
from drawing import run

import attnscope as scope


def draw(ds: xr.Dataset) -> scope.plots.Page:
    """Find boundaries on maps averaged over heads and steps; the cuts are where the shot changes."""
    one = ds.sel(branch="cond").isel(prompt=0)
    shots = one.query_shot.values
    cuts = [frame for frame in range(1, len(shots)) if shots[frame] != shots[frame - 1]]
    return scope.plots.plot_novelty(scope.structure.boundaries(scope.structure.mean_map(one)), cuts)


if __name__ == "__main__":
    run(__file__, __doc__, draw)
