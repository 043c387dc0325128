"""
Dose and response
=================

How well a mask cuts the stronger it is, between no mask and one that hides everything across the cut.
"""

import numpy as np
import xarray as xr

import attnscope as scope

strength = np.array([0.5, 1, 2, 4, 8])
chances = np.array([0.05, *(1 - np.exp(-strength / 3)), 0.97])
found = np.random.default_rng(0).binomial(2, chances, size=(20, 1, 7))  # of two cuts a film
cells = ["none", *(f"strength {each:g}" for each in strength), "full"]
swept = xr.Dataset({"recall": (("prompt", "seed", "cell"), found / 2)}, {"cell": cells})
effect = scope.structure.causal_effect(swept.assign(num_requested=("prompt", [2] * 20)))
dose = effect.isel(cell=slice(1, -1)).assign_coords(strength=("cell", strength)).swap_dims(cell="strength")
figure = scope.plots.plot_dose(
    dose,
    untouched=effect.sel(cell="none"),
    hidden=effect.sel(cell="full"),
    label="recall",
    width_in=3.25,
)
