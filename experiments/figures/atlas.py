"""Draw which heads of which layers keep to their shot once distance and popular frames are taken out.

python experiments/figures/atlas.py STORE -o DIR
"""

from __future__ import annotations

import xarray as xr
from drawing import run

import attnscope as scope


def draw(ds: xr.Dataset) -> scope.plots.Page:
    """Measure every head on its map averaged over denoising steps, then average over prompts."""
    r = scope.structure.adjusted_r(ds.sel(branch="cond"), over=["step"]).mean("prompt")
    return scope.plots.plot_table(r.transpose("layer", "head"), centre=0, label="adjusted r")


if __name__ == "__main__":
    run(__file__, __doc__, draw)
