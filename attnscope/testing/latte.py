"""A tiny Latte pipeline."""

from __future__ import annotations

from importlib import import_module

from attnscope.families import Latte
from attnscope.testing.building import TinyPipeline, picture_vae, seed_weights, small_settings
from attnscope.testing.specimens import IN_ONE_CALL, Specimen
from attnscope.testing.text import WIDTH, t5_encoder, tokenizer


@seed_weights
def tiny_latte(*, num_layers: int = 2) -> TinyPipeline:
    """Build Latte: 2 heads of size 16; 4 frames of 8 x 8 latent elements, 16 places."""
    diffusers = import_module("diffusers")
    return diffusers.LattePipeline(
        tokenizer=tokenizer(model_max_length=16),
        text_encoder=t5_encoder(),
        vae=picture_vae(),
        transformer=diffusers.LatteTransformer3DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            out_channels=8,
            num_layers=num_layers,
            num_attention_heads=2,
            attention_head_dim=16,
            cross_attention_dim=32,
            caption_channels=WIDTH,
            attention_bias=True,
            num_embeds_ada_norm=1000,
            norm_type="ada_norm_single",
            norm_elementwise_affine=False,
            video_length=4,
        ),
        scheduler=diffusers.DDIMScheduler(),
    )


SETTINGS = small_settings(video_length=4, height=8, width=8, clean_caption=False, mask_feature=False)
GUIDANCE = (*IN_ONE_CALL[:2], ({"num_images_per_prompt": 2}, ("uncond", "cond")))
SPECIMENS = {"latte": Specimen(Latte(), tiny_latte, SETTINGS, guidance=GUIDANCE)}
