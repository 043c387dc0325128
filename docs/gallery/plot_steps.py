"""
Layers by step
==============

When in denoising which layer keeps to its shot: here all do, and more with every step.
"""

import xarray as xr

import attnscope as scope

plan = scope.ShotPlan.from_latent_frames([5, 9], num_frames_latent=13, fps=16).to_latent()
steps = [
    scope.synthetic.block_attention(plan, contrast=1 + step, noise=0.8, num_layers=12, num_steps=1, seed=step)
    .drop_vars(["timestep", "sigma", "seed"])
    .assign_coords(step=[step])
    for step in range(8)
]
attention = xr.concat(steps, "step", coords="minimal")
by_step = scope.structure.adjusted_r(attention, over=("head",)).isel(prompt=0, branch=0)
figure = scope.plots.plot_table(
    by_step.transpose("step", "layer"), centre=0, label="adjusted r", width_in=3.25
)
