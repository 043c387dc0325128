"""On what clock a model's videos run: how often a frame comes, and on which of them a cut can fall."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, TypedDict

from attnscope.video.files import fps_of

if TYPE_CHECKING:
    from attnscope.families.protocols import Pipeline


class Clock(TypedDict):
    """Frames a second, and how many frames a latent frame stands for; what a plan of shots is read with."""

    fps: Fraction
    stride: int


ANY_CLOCK: Clock = {"fps": Fraction(16), "stride": 4}
"""With which shots are read to see whether they can be read at all, before a model is there."""


def clock_of(pipe: Pipeline) -> Clock:
    """Return the clock of a pipeline."""
    from attnscope import families

    return {"fps": fps_of(pipe), "stride": families.find(pipe).temporal_stride(pipe)}
