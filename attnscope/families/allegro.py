"""Allegro: attention over all frames, and cross-attention to the text, whose padding a mask hides."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from attnscope.families.base import GridFamily, Site, pair_sites
from attnscope.families.facts import Reasons
from attnscope.families.protocols import Denoiser
from attnscope.families.reading import ReadingFamily


class Allegro(ReadingFamily, GridFamily):
    """Allegro: every block holds a self-attention over all frames and a cross-attention to the text.

    Guidance is one call, [uncond, cond], of which the pipeline says nothing. Its VAE makes four frames of every latent
    frame, the first one included: frame numbers beside latent frames, which count the first as one, are up to three
    frames early.

    >>> Allegro().num_latent_frames(None, 85)
    22
    """

    name = "Allegro"
    pipelines = ("AllegroPipeline",)
    networks = ("AllegroTransformer3DModel",)
    padding = "hidden"
    cannot: ClassVar[Reasons] = {"given videos": "its VAE encodes nothing but large tiles"}
    names_branches = False

    @override
    def sites(self, denoiser: Denoiser) -> tuple[Site, ...]:
        """Return self- and cross-attention of every block."""
        return tuple(pair_sites("transformer_blocks", len(denoiser.transformer_blocks), cross="attn2"))
