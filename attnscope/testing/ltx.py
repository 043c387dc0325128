"""Tiny LTX-Video pipelines: from text, from a picture, from conditions."""

from __future__ import annotations

import functools
from importlib import import_module

from attnscope.families import LTX
from attnscope.testing.building import TinyPipeline, picture, seed_weights, small_settings
from attnscope.testing.specimens import IN_ONE_CALL, Specimen
from attnscope.testing.text import WIDTH, t5_encoder, tokenizer


@seed_weights
def tiny_ltx(kind: str = "LTXPipeline", *, num_layers: int = 2) -> TinyPipeline:
    """Build LTX-Video: 2 heads of size 16; 9 frames of 32 x 32 become 5 latent frames of 16 tokens."""
    diffusers = import_module("diffusers")
    return getattr(diffusers, kind)(
        tokenizer=tokenizer(),
        text_encoder=t5_encoder(),
        vae=_vae(),
        transformer=diffusers.LTXVideoTransformer3DModel(
            in_channels=8,
            out_channels=8,
            num_attention_heads=2,
            attention_head_dim=16,
            cross_attention_dim=32,
            caption_channels=WIDTH,
            num_layers=num_layers,
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
    )


def _vae() -> object:
    diffusers = import_module("diffusers")
    vae = diffusers.AutoencoderKLLTXVideo(
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False),
        decoder_inject_noise=(False, False, False, False, False),
        upsample_residual=(False, False, False, False),
        upsample_factor=(1, 1, 1, 1),
        timestep_conditioning=False,
        patch_size=2,
        patch_size_t=1,
    )
    return vae


SETTINGS = small_settings(num_frames=9, height=32, width=32, max_sequence_length=16)
GIVEN = {**SETTINGS, "image": picture(32, 32)}
SPECIMENS = {
    "ltx": Specimen(LTX(), tiny_ltx, SETTINGS, guidance=IN_ONE_CALL),
    "ltx-i2v": Specimen(
        LTX(), functools.partial(tiny_ltx, "LTXImageToVideoPipeline"), GIVEN, guidance=IN_ONE_CALL
    ),
    "ltx-condition": Specimen(
        LTX(), functools.partial(tiny_ltx, "LTXConditionPipeline"), GIVEN, guidance=IN_ONE_CALL
    ),
}
