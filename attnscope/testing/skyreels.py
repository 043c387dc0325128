"""Tiny SkyReels-V2 pipelines: from text, with diffusion forcing, and looking back in blocks of frames."""

from __future__ import annotations

import functools
from importlib import import_module

from attnscope.families import SkyReels
from attnscope.testing.building import TinyPipeline, seed_weights, small_settings, wan_vae
from attnscope.testing.specimens import Specimen
from attnscope.testing.text import WIDTH, t5_encoder, tokenizer


@seed_weights
def tiny_skyreels(
    kind: str = "SkyReelsV2Pipeline", *, num_layers: int = 2, num_frame_per_block: int = 1
) -> TinyPipeline:
    """Build SkyReels-V2: 2 heads of size 12; 13 frames of 32 x 32 become 4 latent frames of 4 tokens."""
    diffusers = import_module("diffusers")
    return getattr(diffusers, kind)(
        tokenizer=tokenizer(),
        text_encoder=t5_encoder("UMT5"),
        vae=wan_vae(),
        transformer=diffusers.SkyReelsV2Transformer3DModel(
            patch_size=(1, 2, 2),
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=16,
            out_channels=16,
            text_dim=WIDTH,
            freq_dim=32,
            ffn_dim=32,
            num_layers=num_layers,
            rope_max_seq_len=32,
            num_frame_per_block=num_frame_per_block,
        ),
        scheduler=diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=8.0
        ),
    )


SETTINGS = small_settings(num_frames=13, height=32, width=32, max_sequence_length=16)
FORCING = "SkyReelsV2DiffusionForcingPipeline"
FORCED = {**SETTINGS, "base_num_frames": 13}
SPECIMENS = {
    "skyreels": Specimen(SkyReels(), tiny_skyreels, SETTINGS),
    "skyreels-df": Specimen(SkyReels(), functools.partial(tiny_skyreels, FORCING), FORCED),
    "skyreels-causal": Specimen(
        SkyReels(),
        functools.partial(tiny_skyreels, FORCING, num_frame_per_block=2),
        FORCED,
        hides=lambda query_frame, key_frame: key_frame // 2 > query_frame // 2,
    ),
}
