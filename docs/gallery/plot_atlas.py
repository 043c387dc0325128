"""
Heads by layer
==============

One number for each head of each layer, on colours that go both ways from the value without structure.
"""

import attnscope as scope

attention = scope.synthetic.example(contrast=3.0, noise=0.8)
by_head = scope.structure.adjusted_r(attention, over=("step",)).isel(prompt=0, branch=0)
figure = scope.plots.plot_table(
    by_head.transpose("layer", "head"), centre=0, label="adjusted r", width_in=3.25
)
