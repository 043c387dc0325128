"""
A film along its map
====================

One picture for each latent frame, above the map and beside it.
"""

import attnscope as scope
from attnscope.dataset import render, sample_scene

scene = sample_scene(20, num_shots=3)
attention = scope.synthetic.block_attention(scene.plan.to_latent(), contrast=6.0, noise=0.4)
pictures = render(scene)[attention.query_start_frame.values]
figure = scope.plots.plot_film(attention, pictures, layer=2)
