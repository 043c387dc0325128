"""
A mask rule
===========

Who may look at whom: the rule of CineTrans for DiTs, compiled for 13 latent frames.
"""

import attnscope as scope
from attnscope import masks

plan = scope.ShotPlan.from_latent_frames([5, 9], num_frames_latent=13, fps=16)
rule = masks.same_shot(plan) | masks.first_frame()
figure = scope.plots.plot_rule(masks.compile_rule(rule, masks.Sides.of_frames(13)), cuts=[5, 9])
