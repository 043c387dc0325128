"""A tiny LaVie: two stages, or the four of the published one with its sixteen attentions over time."""

from __future__ import annotations

from importlib import import_module

from torch import Tensor, nn

from attnscope.families import LaVie
from attnscope.testing.building import TinyPipeline, seed_weights, small_settings
from attnscope.testing.pictures import clip_texts, ddim, eightfold_vae
from attnscope.testing.specimens import IN_ONE_CALL, Specimen
from attnscope.testing.text import WIDTH


@seed_weights
def tiny_lavie(*, is_deep: bool = False) -> TinyPipeline:
    """Build LaVie: 2 heads of size 4 or 8; with `is_deep` in the published layout, 16 layers."""
    lavie = import_module("attnscope.models.lavie")
    unet = lavie.LaVieUNet(
        sample_size=4,
        block_out_channels=(8, 8, 16, 16) if is_deep else (8, 16),
        layers_per_block=2 if is_deep else 1,
        num_heads=2,
        text_width=WIDTH,
        num_groups=2,
    )
    return lavie.LaViePipeline(vae=eightfold_vae(), unet=unet, scheduler=ddim(), **clip_texts())


def own_bias(attention: nn.Module, num_frames: int) -> Tensor:
    """What the model itself adds to the scores, by distance in time: (heads, frames, frames)."""
    bias: Tensor = attention.get_submodule("time_rel_pos_bias")(num_frames)
    return bias


SETTINGS = small_settings(num_frames=5, height=32, width=32)
SPECIMENS = {"lavie": Specimen(LaVie(), tiny_lavie, SETTINGS, guidance=IN_ONE_CALL, own_bias=own_bias)}
