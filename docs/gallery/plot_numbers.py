"""
Numbers as a LaTeX table
========================

The statistics of a store for a paper, in the style of booktabs; `figure effect-numbers` writes those of a sweep so.
"""

import attnscope as scope

summary = scope.structure.summary(scope.synthetic.example(contrast=4.0, noise=0.5))
measures = ("adjusted_contrast", "adjusted_r", "contrast", "contrast_distance_only", "own_shot_mass")
rows = [(name.replace("_", " "), summary[name]) for name in measures]
print(scope.plots.latex_table(["measure", "value"], rows))
