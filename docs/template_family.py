"""A family to begin with: copy it to attnscope/families/, replace what is said of the model, keep what already fits.

It describes a made-up `MyVideoPipeline`, which is Wan under another name; `template_tiny.py` builds one to prove it.
"""

from __future__ import annotations

from typing_extensions import override

from attnscope.families.base import GridFamily, Site, pair_sites
from attnscope.families.protocols import Denoiser


class MyFamily(GridFamily):
    """My video model: every block holds a self-attention over all frames and a cross-attention to the text."""

    name = "MyVideo"
    pipelines = ("MyVideoPipeline",)
    networks = ("MyVideoTransformer",)
    says_of_text = "cross-attention"
    says_of_guidance = "two calls, cond then uncond"

    @override
    def sites(self, denoiser: Denoiser) -> tuple[Site, ...]:
        """Return self- and cross-attention of every block, in the order they run."""
        return tuple(pair_sites("blocks", len(denoiser.blocks), "attn1", cross="attn2"))
