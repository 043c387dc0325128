"""A tiny Mochi pipeline."""

from __future__ import annotations

from importlib import import_module

from attnscope.families import Mochi
from attnscope.testing.building import TinyPipeline, seed_weights, small_settings
from attnscope.testing.specimens import IN_ONE_CALL, Specimen
from attnscope.testing.text import WIDTH, t5_encoder, tokenizer


@seed_weights
def tiny_mochi(*, num_layers: int = 2) -> TinyPipeline:
    """Build Mochi: 2 heads of size 8; 19 frames of 16 x 32 become 4 latent frames of 2 tokens."""
    diffusers = import_module("diffusers")
    return diffusers.MochiPipeline(
        tokenizer=tokenizer(),
        text_encoder=t5_encoder(),
        vae=diffusers.AutoencoderKLMochi(
            latent_channels=12,
            out_channels=3,
            encoder_block_out_channels=(32, 32, 32, 32),
            decoder_block_out_channels=(32, 32, 32, 32),
            layers_per_block=(1, 1, 1, 1, 1),
        ),
        transformer=diffusers.MochiTransformer3DModel(
            patch_size=2,
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=num_layers,
            pooled_projection_dim=16,
            in_channels=12,
            text_embed_dim=WIDTH,
            time_embed_dim=4,
            max_sequence_length=16,
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
    )


SETTINGS = small_settings(num_frames=19, height=16, width=32, max_sequence_length=16)
SPECIMENS = {"mochi": Specimen(Mochi(), tiny_mochi, SETTINGS, guidance=IN_ONE_CALL, one_by_one=True)}
