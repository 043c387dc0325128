"""A tiny AnimateDiff: two stages, a motion module behind every resnet and in the middle."""

from __future__ import annotations

from importlib import import_module

from attnscope.families import AnimateDiff
from attnscope.testing.building import TinyPipeline, seed_weights, small_settings
from attnscope.testing.pictures import clip_texts, ddim, eightfold_vae
from attnscope.testing.specimens import IN_ONE_CALL, TWO_PROMPTS, Specimen
from attnscope.testing.text import WIDTH


@seed_weights
def tiny_animatediff(kind: str = "AnimateDiffPipeline") -> TinyPipeline:
    """Build AnimateDiff: motion modules of 2 heads of size 4 or 8, at most 16 frames; 32 x 32 pixels by default."""
    diffusers = import_module("diffusers")
    unet = diffusers.UNetMotionModel(
        sample_size=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlockMotion", "DownBlockMotion"),
        up_block_types=("UpBlockMotion", "CrossAttnUpBlockMotion"),
        cross_attention_dim=WIDTH,
        num_attention_heads=2,
        norm_num_groups=2,
        motion_num_attention_heads=2,
        motion_max_seq_length=16,
    )
    return getattr(diffusers, kind)(
        vae=eightfold_vae(), unet=unet, motion_adapter=None, scheduler=ddim(), **clip_texts()
    )


SETTINGS = small_settings(num_frames=5, height=32, width=32)
SPECIMENS = {
    "animatediff": Specimen(
        AnimateDiff(), tiny_animatediff, SETTINGS, guidance=(*IN_ONE_CALL[:2], TWO_PROMPTS)
    )
}
