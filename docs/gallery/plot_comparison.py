"""
Two stores, and what changed
============================

The same films without and with a mask: a map of each, their ratio, and what differs in every layer, film by film.
"""

import numpy as np
import xarray as xr

import attnscope as scope

s = scope.structure
plan = scope.ShotPlan.from_latent_frames([5, 9], num_frames_latent=13, fps=16).to_latent()
plain, masked = (
    xr.concat(
        [
            scope.synthetic.block_attention(plan, contrast=contrast, noise=0.8, seed=film).assign_coords(
                prompt=[film]
            )
            for film in range(4)
        ],
        "prompt",
    )
    for contrast in (2.0, 8.0)
)
values = [s.adjusted_r(each) for each in (plain, masked)]
first, second = (s.mean_map(each).mass.sel(layer=3, branch="cond", prompt=0) for each in (plain, masked))
figure = scope.plots.plot_comparison(
    plain,
    masked,
    np.log2(second / first).rename("log2 of the ratio of shares"),
    (s.profile(values[0]), s.profile(values[1])),
    s.profile(values[1] - values[0]),
    names=("plain", "masked"),
    label="adjusted r",
    layer=3,
)
