"""A tiny Allegro pipeline."""

from __future__ import annotations

from importlib import import_module

from attnscope.families import Allegro
from attnscope.testing.building import TinyPipeline, seed_weights, small_settings
from attnscope.testing.specimens import IN_ONE_CALL, TWO_PROMPTS, Specimen
from attnscope.testing.text import WIDTH, t5_encoder, tokenizer


@seed_weights
def tiny_allegro(*, num_layers: int = 2) -> TinyPipeline:
    """Build Allegro: 2 heads of size 12; 9 frames of 32 x 32 become 3 latent frames of 4 tokens."""
    diffusers = import_module("diffusers")
    return diffusers.AllegroPipeline(
        tokenizer=tokenizer(),
        text_encoder=t5_encoder(),
        vae=diffusers.AutoencoderKLAllegro(
            down_block_types=("AllegroDownBlock3D",) * 4,
            up_block_types=("AllegroUpBlock3D",) * 4,
            block_out_channels=(8, 8, 8, 8),
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=2,
            temporal_compression_ratio=4,
        ),
        transformer=diffusers.AllegroTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=4,
            out_channels=4,
            num_layers=num_layers,
            cross_attention_dim=24,
            sample_width=4,
            sample_height=4,
            sample_frames=3,
            caption_channels=WIDTH,
        ),
        scheduler=diffusers.DDIMScheduler(),
    )


SETTINGS = small_settings(num_frames=9, height=32, width=32, max_sequence_length=16, clean_caption=False)
SPECIMENS = {"allegro": Specimen(Allegro(), tiny_allegro, SETTINGS, guidance=(*IN_ONE_CALL[:2], TWO_PROMPTS))}
