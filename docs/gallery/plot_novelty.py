"""
Where attention falls apart
===========================

How much the map breaks between every two latent frames, against the cuts of the plan.
"""

import attnscope as scope

plan = scope.ShotPlan.from_latent_frames([5, 9], num_frames_latent=13, fps=16).to_latent()
attention = scope.synthetic.block_attention(plan, contrast=6.0, noise=0.4).isel(prompt=0, branch=0)
found = scope.structure.boundaries(
    scope.structure.mean_map(attention, ("step", "head", "layer")), threshold=0.2
)
figure = scope.plots.plot_novelty(found, [5, 9], threshold=0.2, width_in=3.25)
