"""A tiny HunyuanVideo pipeline."""

from __future__ import annotations

from importlib import import_module

from attnscope.families import HunyuanVideo
from attnscope.testing.building import TinyPipeline, seed_weights, small_settings
from attnscope.testing.specimens import DISTILLED, Specimen
from attnscope.testing.text import WIDTH, clip_text, llama, tokenizer


@seed_weights
def tiny_hunyuan_video(*, num_layers: int = 1, num_single_layers: int = 1) -> TinyPipeline:
    """Build HunyuanVideo: a double and a single block; 9 frames of 32 x 32 become 3 latent frames of 4 tokens."""
    diffusers = import_module("diffusers")
    return diffusers.HunyuanVideoPipeline(
        text_encoder=llama(),
        tokenizer=tokenizer(),
        text_encoder_2=clip_text(),
        tokenizer_2=tokenizer(),
        vae=_vae(),
        transformer=diffusers.HunyuanVideoTransformer3DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=10,
            num_layers=num_layers,
            num_single_layers=num_single_layers,
            num_refiner_layers=1,
            patch_size=2,
            patch_size_t=1,
            guidance_embeds=True,
            text_embed_dim=WIDTH,
            pooled_projection_dim=WIDTH,
            rope_axes_dim=(2, 4, 4),
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
    )


def _vae() -> object:
    diffusers = import_module("diffusers")
    return diffusers.AutoencoderKLHunyuanVideo(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        down_block_types=("HunyuanVideoDownBlock3D",) * 4,
        up_block_types=("HunyuanVideoUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        mid_block_add_attention=True,
    )


SETTINGS = small_settings(
    num_frames=9,
    height=32,
    width=32,
    max_sequence_length=16,
    prompt_template={"template": "{}", "crop_start": 0},
)
SPECIMENS = {"hunyuan-video": Specimen(HunyuanVideo(), tiny_hunyuan_video, SETTINGS, guidance=DISTILLED)}
