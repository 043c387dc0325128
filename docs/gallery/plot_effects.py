"""
Which change cuts
=================

Every change of a sweep with the interval over prompts: here the layers in the middle cut, by chances that were chosen.
"""

import numpy as np
import xarray as xr

import attnscope as scope

chances = {"none": 0.05, "layers 1-6": 0.1, "layers 7-17": 0.8, "layers 18-28": 0.5, "full": 0.95}
found = np.random.default_rng(0).binomial(2, list(chances.values()), size=(20, 1, 5))  # of two cuts a film
swept = xr.Dataset({"recall": (("prompt", "seed", "cell"), found / 2)}, {"cell": list(chances)})
effect = scope.structure.causal_effect(swept.assign(num_requested=("prompt", [2] * 20)))
figure = scope.plots.plot_effects(effect, label="recall", width_in=3.25)
