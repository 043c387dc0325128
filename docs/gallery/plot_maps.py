"""
Maps by layer and step
======================

Which frame looks at which; cuts are the dashed lines, all maps have one logarithmic scale.
"""

import attnscope as scope

plan = scope.ShotPlan.from_latent_frames([5, 9], num_frames_latent=13, fps=16).to_latent()
attention = scope.synthetic.block_attention(plan, contrast=6.0, locality=0.2, noise=0.4)
figure = scope.plots.plot_maps(attention, layers=[1, 4])
