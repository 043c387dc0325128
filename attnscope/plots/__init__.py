"""Figures of an attention dataset: they draw what they are given and compute nothing.

Figures to move through in a browser are in `attnscope.plots.interactive`.
"""

from attnscope.plots import interactive as interactive
from attnscope.plots._page import Page
from attnscope.plots._theme import VENUES as VENUES
from attnscope.plots._theme import Venue, colour_table
from attnscope.plots.cell_table import plot_effect_grid, plot_table
from attnscope.plots.comparison import plot_comparison
from attnscope.plots.composite import plot_overview
from attnscope.plots.effects import plot_dose, plot_effects
from attnscope.plots.film_strip import plot_film
from attnscope.plots.latex import latex_table
from attnscope.plots.layer_curves import plot_profile
from attnscope.plots.map_grid import plot_maps
from attnscope.plots.novelty import plot_novelty
from attnscope.plots.rule_map import plot_rule
from attnscope.plots.saving import save_figure

__all__ = [
    "Page",
    "Venue",
    "colour_table",
    "latex_table",
    "plot_comparison",
    "plot_dose",
    "plot_effect_grid",
    "plot_effects",
    "plot_film",
    "plot_maps",
    "plot_novelty",
    "plot_overview",
    "plot_profile",
    "plot_rule",
    "plot_table",
    "save_figure",
]
