"""Figures of an attention dataset: they draw what they are given and compute nothing.

Figures to move through in a browser are in `attnscope.plots.interactive`.
"""

from attnscope.plots import interactive as interactive
from attnscope.plots.composite import plot_overview
from attnscope.plots.effects import plot_effect_grid, plot_effects
from attnscope.plots.layer_curves import plot_profile
from attnscope.plots.map_grid import plot_maps
from attnscope.plots.rule_map import plot_rule
from attnscope.plots.saving import save_figure

__all__ = [
    "plot_effect_grid",
    "plot_effects",
    "plot_maps",
    "plot_overview",
    "plot_profile",
    "plot_rule",
    "save_figure",
]
