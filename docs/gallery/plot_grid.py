"""
A causal grid
=============

The changes of a sweep by what they changed, here single heads of four layers: one of them makes the cut.
"""

import numpy as np
import xarray as xr

import attnscope as scope

places = [(layer, head) for layer in range(7, 11) for head in range(6)]
chances = [0.9 if place == (9, 2) else 0.08 for place in places]
found = np.random.default_rng(0).binomial(2, chances, size=(20, 1, len(places)))  # of two cuts a film
swept = xr.Dataset(
    {"recall": (("prompt", "seed", "cell"), found / 2)},
    {
        "cell": [f"{layer}.{head}" for layer, head in places],
        "layers": ("cell", [str(layer) for layer, _ in places]),
        "heads": ("cell", [str(head) for _, head in places]),
    },
)
figure = scope.plots.plot_effect_grid(scope.structure.effect_grid(swept, rows="layers", columns="heads"))
