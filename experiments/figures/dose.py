"""Draw how well a mask cuts the stronger it is, from a sweep over strength.

python experiments/figures/dose.py SWEEP -o DIR
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from drawing import run

import attnscope as scope


def draw(swept: xr.Dataset) -> scope.plots.Page:
    """Take the cells whose strength is a number; no change and the full mask are lines across."""
    effect = scope.structure.causal_effect(swept)
    soft = effect.isel(cell=np.isfinite(swept.strength.values)).swap_dims(cell="strength")
    return scope.plots.plot_dose(soft, untouched=effect.sel(cell="none"), hidden=effect.sel(cell="full"))


if __name__ == "__main__":
    run(__file__, __doc__, draw, is_sweep=True)
