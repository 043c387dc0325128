"""
Through the layers
==================

Contrast beside what distance alone makes of it; correlation raw, and with distance and popularity taken out.
"""

import attnscope as scope

attention = scope.synthetic.example(contrast=4.0, noise=0.5)
s = scope.structure
figure = scope.plots.plot_profile(
    s.profile(s.contrast(attention), scale="log", level=None),
    s.profile(s.correlation(attention), level=None),
    distance_only=s.profile(s.distance_only_contrast(attention), scale="log", level=None),
    adjusted=s.profile(s.adjusted_r(attention), level=None),
)
