"""A tiny model to begin with: copy it to attnscope/testing/, and build your pipeline from configurations instead.

`from attnscope.families.my_video import MyFamily` where the family has moved to its place.
"""

from __future__ import annotations

from typing import Any

import diffusers
from template_family import MyFamily

from attnscope.families.protocols import Pipeline
from attnscope.testing import specimen, tiny
from attnscope.testing.specimens import Specimen


class MyVideoPipeline(diffusers.WanPipeline):
    """The pipeline as diffusers, or you, would define it."""


def tiny_my_video() -> Pipeline:
    """Build the pipeline with random weights and as little of everything as it takes."""
    build: Any = MyVideoPipeline  # the classes of diffusers have no types
    pipe: Pipeline = build(**tiny("wan").components)
    pipe.set_progress_bar_config(disable=True)
    return pipe


SPECIMENS = {"my-video": Specimen(MyFamily(), tiny_my_video, specimen("wan").settings)}
