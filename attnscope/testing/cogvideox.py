"""Tiny CogVideoX pipelines: 1.0 with added positions, 1.5 with two latent frames a token and rotary positions."""

from __future__ import annotations

import functools
from importlib import import_module

from attnscope.families import CogVideoX
from attnscope.testing.building import TinyPipeline, picture, seed_weights, small_settings
from attnscope.testing.specimens import IN_ONE_CALL, TWO_PROMPTS, Specimen
from attnscope.testing.text import WIDTH, t5_encoder, tokenizer


@seed_weights
def tiny_cogvideox(
    kind: str = "CogVideoXPipeline", *, num_layers: int = 2, is_1_5: bool = False
) -> TinyPipeline:
    """Build CogVideoX 1.0 or 1.5: 2 heads of size 16, 16 x 16 pixels, 9 or 17 frames."""
    diffusers = import_module("diffusers")
    later = {"patch_size_t": 2, "use_rotary_positional_embeddings": True} if is_1_5 else {}
    given = 4 if kind == "CogVideoXImageToVideoPipeline" else 0
    return getattr(diffusers, kind)(
        tokenizer=tokenizer(),
        text_encoder=t5_encoder(),
        vae=_vae(),
        transformer=diffusers.CogVideoXTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=16,
            in_channels=4 + given,
            out_channels=4,
            time_embed_dim=2,
            text_embed_dim=WIDTH,
            num_layers=num_layers,
            sample_width=8,
            sample_height=8,
            sample_frames=9,
            max_text_seq_length=16,
            **later,
        ),
        scheduler=diffusers.CogVideoXDDIMScheduler(),
    )


def _vae() -> object:
    diffusers = import_module("diffusers")
    return diffusers.AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        temporal_compression_ratio=4,
    )


SIZE = {"height": 32, "width": 32, "max_sequence_length": 16}
GUIDANCE = (*IN_ONE_CALL[:2], TWO_PROMPTS)
SPECIMENS = {
    "cogvideox": Specimen(
        CogVideoX(), tiny_cogvideox, small_settings(num_frames=9, **SIZE), guidance=GUIDANCE
    ),
    "cogvideox-1.5": Specimen(
        CogVideoX(),
        functools.partial(tiny_cogvideox, is_1_5=True),
        small_settings(num_frames=17, **SIZE),
        guidance=GUIDANCE,
    ),
    "cogvideox-i2v": Specimen(
        CogVideoX(),
        functools.partial(tiny_cogvideox, "CogVideoXImageToVideoPipeline"),
        small_settings(num_frames=9, image=picture(32, 32), **SIZE),
        guidance=GUIDANCE[:2],
    ),
    "cogvideox-v2v": Specimen(
        CogVideoX(),
        functools.partial(tiny_cogvideox, "CogVideoXVideoToVideoPipeline"),
        small_settings(video=[picture(32, 32)] * 9, strength=1.0, **SIZE),
        guidance=GUIDANCE[:2],
    ),
}
