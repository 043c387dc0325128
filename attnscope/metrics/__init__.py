"""Measure videos: where they cut, whether as asked, how alike their shots are, and what a cut does to the picture.

`score` does all of it for one video; the rest are its parts. Torch is imported by what needs it, on first use.
"""

from attnscope.metrics.consistency import between_shots, within_shots
from attnscope.metrics.control import (
    Agreement,
    agreement,
    latent_agreement,
    match_cuts,
    probabilities_at,
    shot_cut_accuracy,
    transition_control,
)
from attnscope.metrics.detection.curves import transitions
from attnscope.metrics.detection.cuts import Detection, detect_cuts
from attnscope.metrics.detection.transition import Transition
from attnscope.metrics.encoders.registry import find_encoder, list_encoders
from attnscope.metrics.gap import Gap, consistency_gap, js_distance
from attnscope.metrics.references import Reference, read_reference, reference_of
from attnscope.metrics.scoring.score import Settings, score

__all__ = [
    "Agreement",
    "Detection",
    "Gap",
    "Reference",
    "Settings",
    "Transition",
    "agreement",
    "between_shots",
    "consistency_gap",
    "detect_cuts",
    "find_encoder",
    "js_distance",
    "latent_agreement",
    "list_encoders",
    "match_cuts",
    "probabilities_at",
    "read_reference",
    "reference_of",
    "score",
    "shot_cut_accuracy",
    "transition_control",
    "transitions",
    "within_shots",
]
