"""Draw when in denoising which layers keep to their shot.

python experiments/figures/steps.py STORE -o DIR
"""

from __future__ import annotations

import xarray as xr
from drawing import run

import attnscope as scope


def draw(ds: xr.Dataset) -> scope.plots.Page:
    """Measure every step on its map averaged over heads, then average over prompts."""
    r = scope.structure.adjusted_r(ds.sel(branch="cond"), over=["head"]).mean("prompt")
    return scope.plots.plot_table(r.transpose("step", "layer"), centre=0, label="adjusted r")


if __name__ == "__main__":
    run(__file__, __doc__, draw)
