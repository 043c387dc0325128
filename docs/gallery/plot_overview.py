"""
A store on one page
===================

The film, the map of the layer that follows the cuts most, how it comes about while denoising, and all layers.
"""

import attnscope as scope
from attnscope.dataset import render, sample_scene

scene = sample_scene(20, num_shots=3)
attention = scope.synthetic.block_attention(scene.plan.to_latent(), contrast=6.0, locality=0.2, noise=0.8)
pictures = render(scene)[attention.query_start_frame.values]
s = scope.structure
figure = scope.plots.plot_overview(
    attention,
    s.profile(s.contrast(attention), scale="log", level=None),
    s.profile(s.correlation(attention), level=None),
    distance_only=s.profile(s.distance_only_contrast(attention), scale="log", level=None),
    adjusted=s.profile(s.adjusted_r(attention), level=None),
    film=pictures,
)
