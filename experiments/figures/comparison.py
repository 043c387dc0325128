"""Draw two stores of the same prompts and what changed between them, prompt by prompt.

python experiments/figures/comparison.py PLAIN MASKED -o DIR
"""

from __future__ import annotations

import xarray as xr
from drawing import run

import attnscope as scope


def draw(first: xr.Dataset, second: xr.Dataset) -> scope.plots.Page:
    """Compare the layer that changed most; intervals are of the paired difference over prompts."""
    maps = [scope.structure.mean_map(each.sel(branch="cond")) for each in (first, second)]
    values = [scope.structure.adjusted_r(each) for each in maps]
    difference = scope.structure.profile(values[1] - values[0])
    layer = int(abs(difference["mean"]).idxmax("layer"))
    change = (maps[1].mass - maps[0].mass).sel(layer=layer).isel(prompt=0).rename("difference of shares")
    curves = (scope.structure.profile(values[0]), scope.structure.profile(values[1]))
    return scope.plots.plot_comparison(
        first, second, change, curves, difference, layer=layer, label="adjusted r", names=("plain", "masked")
    )


if __name__ == "__main__":
    run(__file__, __doc__, draw)
