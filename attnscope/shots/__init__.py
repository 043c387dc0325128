"""Where a film is cut: plans of shots on a frame clock, what a latent grid can hold of them, and shots as text."""

from attnscope.shots.latent import LatentPlan, Number
from attnscope.shots.plan import Shot, ShotPlan, Snap
from attnscope.shots.text import ShotPrompt, parse_prompt

__all__ = ["LatentPlan", "Number", "Shot", "ShotPlan", "ShotPrompt", "Snap", "parse_prompt"]
