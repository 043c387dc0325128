"""A family to begin with: copy it to attnscope/families/, replace what is said of the model, keep what already fits.

It describes a made-up `MyVideoPipeline`, which is Wan under another name, so that the template itself is proven.
"""

from __future__ import annotations

import functools
from typing import Any, cast

import diffusers
from torch import nn

from attnscope.families._base import GridFamily, Site, paired_sites
from attnscope.families._specimen import Specimen
from attnscope.testing import specimen, tiny


class MyFamily(GridFamily):
    """My video model: every block holds a self-attention over all frames and a cross-attention to the text."""

    name = "MyVideo"
    pipelines = ("MyVideoPipeline",)
    networks = ("MyVideoTransformer",)
    says_of_text = "cross-attention"
    says_of_guidance = "two calls, cond then uncond"

    def sites(self, denoiser: nn.Module) -> tuple[Site, ...]:
        """Return self- and cross-attention of every block, in the order they run."""
        return tuple(paired_sites("blocks", len(cast(Any, denoiser).blocks), "attn1", cross="attn2"))


class MyVideoPipeline(diffusers.WanPipeline):
    """The pipeline as diffusers, or you, would define it."""


def tiny_my_video() -> Any:
    """Build the pipeline with random weights and as little of everything as it takes."""
    pipe = MyVideoPipeline(**tiny("wan").components)
    pipe.set_progress_bar_config(disable=True)
    return pipe


SPECIMENS = {"my-video": Specimen(MyFamily(), functools.partial(tiny_my_video), specimen("wan").settings)}
